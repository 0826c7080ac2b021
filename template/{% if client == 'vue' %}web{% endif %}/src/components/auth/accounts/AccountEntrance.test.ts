import { beforeEach, describe, expect, it, vi } from "vitest";
import { defineComponent, h, shallowRef } from "vue";
import type { Plugin } from "vue";

import { Refused } from "../../../auth/accounts/http.js";
import * as auth from "../../../auth/index.js";
import type { AppClient } from "../../../composables/realtime.js";
import { reload } from "../../../document.js";
import type { ScriptedServer } from "../../../realtime/testing.js";
import { ADA, BOB, credentials } from "../../../realtime/testing.js";
import { find, mountWith, scripted, settle } from "../../../testing/mount.js";
import AccountEntrance from "./AccountEntrance.vue";
import { mayGoOnAs, owner } from "./owner.js";

vi.mock("../../../auth/index.js", () => ({
  whoAmI: vi.fn(),
  login: vi.fn(),
  register: vi.fn(),
  logout: vi.fn(),
}));
vi.mock("../../../document.js", () => ({ DESCRIPTION: "A place to talk.", reload: vi.fn() }));

/** A page with a header and an entrance. */
const Page = defineComponent(() => {
  const isInside = shallowRef(false);
  return () => [
    h("header"),
    h(AccountEntrance, {
      modelValue: isInside.value,
      "onUpdate:modelValue": (value: boolean) => (isInside.value = value),
    }),
    h("div", { id: "chat", hidden: !isInside.value }),
  ];
});

let client: AppClient;
let server: ScriptedServer;
let plugin: Plugin;

beforeEach(() => {
  ({ client, server, plugin } = scripted());
  owner.user = null;
  vi.mocked(auth.whoAmI).mockResolvedValue(null);
  vi.mocked(auth.login).mockResolvedValue();
  vi.mocked(auth.register).mockResolvedValue();
  vi.mocked(auth.logout).mockResolvedValue();
});

async function open() {
  mountWith(plugin, Page);
  await settle();
}

async function fill(id: string, text: string) {
  const field = find(id) as HTMLInputElement;
  field.value = text;
  field.dispatchEvent(new Event("input"));
  await settle();
}

async function submit(username: string, password: string) {
  await fill("#username", username);
  await fill("#password", password);
  find("#account-form").dispatchEvent(new Event("submit", { cancelable: true }));
  await settle();
  await settle();
}

describe("somebody who is logged in", () => {
  beforeEach(async () => {
    vi.mocked(auth.whoAmI).mockResolvedValue(ADA);
    await open();
  });

  it("comes in at once", () => {
    expect(find("#account").hidden).toBe(true);
    expect(find("#chat").hidden).toBe(false);
    expect(client.status.state).toBe("connecting");
    expect(mayGoOnAs(ADA)).toBe(true);
  });

  it("logs out: a new page says so", async () => {
    find("#logout").click();
    await settle();
    expect(auth.logout).toHaveBeenCalledOnce();
    expect(reload).toHaveBeenCalledOnce();
    expect(sessionStorage.getItem("goodbye")).not.toBeNull();
  });

  it("hears why that failed", async () => {
    vi.mocked(auth.logout).mockRejectedValue(new Refused(429, "Too many requests."));
    find("#logout").click();
    await settle();
    expect(find("#logout-error").textContent).toBe("Could not log out. Too many requests.");
    expect(reload).not.toHaveBeenCalled();
  });

  it("is asked before messages are lost", async () => {
    const dialog = find("#unsent") as HTMLDialogElement;
    const showModal = vi.fn();
    dialog.showModal = showModal;
    client.enter("lobby").publish("chat.message", { text: "hello" });
    await settle();
    find("#logout").click();
    await settle();
    expect(showModal).toHaveBeenCalledOnce();
    expect(find("#unsent-text").textContent).toContain("1 message");
    dialog.returnValue = "stay";
    dialog.dispatchEvent(new Event("close"));
    await settle();
    expect(auth.logout).not.toHaveBeenCalled();
    find("#logout").click();
    dialog.returnValue = "leave";
    dialog.dispatchEvent(new Event("close"));
    await settle();
    expect(auth.logout).toHaveBeenCalledOnce();
  });

  it("is not followed by another user on the same page", () => {
    expect(mayGoOnAs(BOB)).toBe(false);
    expect(reload).toHaveBeenCalledOnce();
  });
});

describe("somebody who is not logged in", () => {
  beforeEach(open);

  it("sees the form", () => {
    expect(find("#account").hidden).toBe(false);
    expect(find("#chat").hidden).toBe(true);
    expect(find("#logout").hidden).toBe(true);
    expect(document.activeElement).toBe(find("#username"));
    expect(find("#account").textContent).toContain("A place to talk.");
    expect(client.status.state).toBe("idle");
  });

  it("logs in", async () => {
    vi.mocked(auth.whoAmI).mockResolvedValue(ADA);
    await submit("ada", "correct horse");
    expect(auth.login).toHaveBeenCalledWith("ada", "correct horse");
    expect(find("#chat").hidden).toBe(false);
    expect((find("#password") as HTMLInputElement).value).toBe("");
    expect(client.status.state).toBe("connecting");
  });

  it("registers", async () => {
    find("#account-mode").click();
    await settle();
    expect(find("#account-title").textContent).toBe("Register");
    expect((find("#password") as HTMLInputElement).autocomplete).toBe("new-password");
    vi.mocked(auth.whoAmI).mockResolvedValue(ADA);
    await submit("ada", "correct horse");
    expect(auth.register).toHaveBeenCalledWith("ada", "correct horse");
    expect(auth.login).toHaveBeenCalledWith("ada", "correct horse");
    expect(find("#chat").hidden).toBe(false);
  });

  it("hears why that was refused", async () => {
    vi.mocked(auth.login).mockRejectedValue(new Refused(401, "Wrong name or password."));
    await submit("ada", "wrong");
    expect(find("#account-error").textContent).toBe("Wrong name or password.");
    expect(document.activeElement).toBe(find("#password"));
    expect((find("#account-submit") as HTMLButtonElement).disabled).toBe(false);
  });

  it("hears when the browser does not keep the session", async () => {
    await submit("ada", "correct horse");
    expect(find("#account-reason").textContent).toContain("did not keep the session");
    expect(find("#chat").hidden).toBe(true);
  });
});

it("lets the connection find out who is there when the server can't be asked", async () => {
  vi.mocked(auth.whoAmI).mockRejectedValue(new Error("HTTP 503"));
  await open();
  expect(find("#chat").hidden).toBe(false);
  expect(client.status.state).toBe("connecting");
});

it("says goodbye after a logout", async () => {
  sessionStorage.setItem("goodbye", "");
  await open();
  expect(find("#account-reason").textContent).toBe("You have logged out.");
});

it("asks again when the session has ended, with the name of the user", async () => {
  const handshake = vi.fn().mockResolvedValue({});
  ({ client, server, plugin } = scripted({ ...credentials, handshake }));
  vi.mocked(auth.whoAmI).mockResolvedValue(ADA);
  await open();
  server.accept();
  server.close(4403);
  handshake.mockResolvedValue(null);
  await client.connect();
  await settle();
  expect(find("#chat").hidden).toBe(true);
  expect(find("#account-reason").textContent).toBe("Your session has ended. Log in again.");
  expect((find("#username") as HTMLInputElement).value).toBe("ada");
  expect(document.activeElement).toBe(find("#password"));
});
