// @vitest-environment jsdom

import { fireEvent, render, screen } from "@testing-library/react";
import { beforeEach, expect, test, vi } from "vitest";

import * as auth from "../../../auth/index.js";
import { Refused } from "../../../auth/accounts/http.js";
import { ADA, BOB } from "../../../realtime/testing.js";
import { around, byId, happens, newClient, preparePage } from "../../../testing.js";
import { Gate } from "./Gate.js";
import { owner } from "./owner.js";
import { reload } from "./reload.js";

vi.mock("../../../auth/index.js");
vi.mock("./reload.js");
preparePage();

const whoAmI = vi.mocked(auth.whoAmI);
const login = vi.mocked(auth.login);
const register = vi.mocked(auth.register);
const logout = vi.mocked(auth.logout);

beforeEach(() => {
  owner.user = null;
  for (const request of [login, register, logout]) request.mockResolvedValue(undefined);
  HTMLDialogElement.prototype.showModal = vi.fn();
});

async function open() {
  const { client, server } = newClient({ check: () => Promise.resolve(false) });
  render(<Gate />, { wrapper: around(client) });
  await happens(() => undefined);
  return { client, server };
}

/** Open the page for somebody who is logged in. */
async function openAs(user = ADA) {
  whoAmI.mockResolvedValue(user);
  const { client, server } = await open();
  await happens(() => {
    server.accept(user);
    server.joined(0);
  });
  return { client, server };
}

async function fillIn(username: string, password: string): Promise<void> {
  fireEvent.change(byId("username"), { target: { value: username } });
  fireEvent.change(byId("password"), { target: { value: password } });
  await happens(() => {
    byId("account-submit").click();
  });
}

test("who is logged in sees the chat", async () => {
  await openAs();
  expect(document.querySelector("#account")).toBeNull();
  expect(byId("chat").hidden).toBe(false);
  expect(byId("connection").dataset.state).toBe("open");
});

test("while nobody knows who it is, there is neither form nor chat", async () => {
  whoAmI.mockReturnValue(new Promise(() => undefined));
  await open();
  expect(document.querySelector("#account, #logout")).toBeNull();
  expect(byId("chat").hidden).toBe(true);
});

test("a server that can't be asked is not a reason for the form", async () => {
  whoAmI.mockRejectedValue(new Error("HTTP 503"));
  const { server } = await open();
  expect(byId("chat").hidden).toBe(false);
  expect(server.connections).toBeGreaterThan(0);
});

test("somebody logs in", async () => {
  whoAmI.mockResolvedValue(null);
  await open();
  expect(byId("chat").hidden).toBe(true);
  expect(document.activeElement).toBe(byId("username"));
  whoAmI.mockResolvedValue(ADA);
  await fillIn("ada", "correct horse");
  expect(login).toHaveBeenCalledWith("ada", "correct horse");
  expect(document.querySelector("#account")).toBeNull();
  expect(byId("chat").hidden).toBe(false);
});

test("a refusal is said, and the password can be tried again", async () => {
  whoAmI.mockResolvedValue(null);
  login.mockRejectedValueOnce(new Refused(401, "The user name or the password is wrong."));
  await open();
  await fillIn("ada", "wrong");
  expect(byId("account-error").textContent).toBe("The user name or the password is wrong.");
  expect(document.activeElement).toBe(byId("password"));
  expect(byId("account-submit")).toHaveProperty("disabled", false);
});

test("a session that the browser does not keep is explained", async () => {
  whoAmI.mockResolvedValue(null);
  await open();
  await fillIn("ada", "correct horse");
  expect(byId("account-reason").textContent).toMatch(/^The browser did not keep the session/);
});

test("somebody registers, and is logged in", async () => {
  whoAmI.mockResolvedValue(null);
  await open();
  fireEvent.click(byId("account-mode"));
  expect(byId("account-title").textContent).toBe("Register");
  expect(byId("password").getAttribute("autocomplete")).toBe("new-password");
  whoAmI.mockResolvedValue(ADA);
  await fillIn("ada", "correct horse");
  expect(register).toHaveBeenCalledWith("ada", "correct horse");
  expect(login).toHaveBeenCalledWith("ada", "correct horse");
  expect(byId("chat").hidden).toBe(false);
});

test("the password can be shown", async () => {
  whoAmI.mockResolvedValue(null);
  await open();
  fireEvent.click(byId("show-password"));
  expect(byId("password").getAttribute("type")).toBe("text");
});

test("an expired session leads to the form, and back to the chat as it was", async () => {
  const { server } = await openAs();
  fireEvent.change(byId("text"), { target: { value: "a draft" } });
  whoAmI.mockResolvedValue(null);
  await happens(() => {
    server.close(4401);
  });
  expect(byId("account-reason").textContent).toBe("Your session has ended. Log in again.");
  expect(byId("username")).toHaveProperty("value", "ada");
  expect(byId("user").textContent).toBe("");
  whoAmI.mockResolvedValue(ADA);
  await fillIn("ada", "correct horse");
  expect(byId("chat").hidden).toBe(false);
  expect(byId("text")).toHaveProperty("value", "a draft");
});

test("a page for another user begins anew", async () => {
  owner.user = BOB;
  sessionStorage.setItem("rooms", '["secret"]');
  whoAmI.mockResolvedValue(ADA);
  await open();
  expect(reload).toHaveBeenCalled();
  expect(sessionStorage.getItem("rooms")).toBeNull();
  expect(byId("chat").hidden).toBe(true);
});

test("somebody logs out", async () => {
  await openAs();
  await happens(() => {
    byId("logout").click();
  });
  expect(logout).toHaveBeenCalledTimes(1);
  expect(reload).toHaveBeenCalled();
  expect(sessionStorage.getItem("goodbye")).toBe("");
});

test("a logout that fails is explained", async () => {
  await openAs();
  logout.mockRejectedValueOnce(new TypeError("fetch failed"));
  await happens(() => {
    byId("logout").click();
  });
  expect(byId("logout-error").textContent).toMatch(/^Could not log out. The server can't be/);
});

test("the page asks before a logout loses messages", async () => {
  const { client } = await openAs();
  await happens(() => {
    client.rooms.get("lobby")?.publish("chat.message", { text: "hello" });
  });
  await happens(() => {
    byId("logout").click();
  });
  expect(logout).not.toHaveBeenCalled();
  screen.getByText("The server has not confirmed 1 message. It would be lost.");
  const dialog = byId("unsent") as HTMLDialogElement;
  dialog.returnValue = "stay";
  fireEvent(dialog, new Event("close"));
  expect(logout).not.toHaveBeenCalled();
  dialog.returnValue = "leave";
  await happens(() => {
    fireEvent(dialog, new Event("close"));
  });
  expect(logout).toHaveBeenCalledTimes(1);
});
