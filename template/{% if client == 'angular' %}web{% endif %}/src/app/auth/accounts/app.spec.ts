import { TestBed } from "@angular/core/testing";
import { beforeEach, expect, test, vi } from "vitest";
import { Refused } from "../../../auth/accounts/http.js";
import type { Member } from "../../../realtime/index.js";
import { ada, bob, Shown, useFakeClient, type FakeClient } from "../../testing.js";
import { App } from "./app.js";
import { RELOAD } from "./reload.js";
import { REQUESTS, Session } from "./session.js";

const whoAmI = vi.fn<() => Promise<Member | null>>();
const login = vi.fn<(username: string, password: string) => Promise<void>>();
const register = vi.fn<(username: string, password: string) => Promise<void>>();
const logout = vi.fn<() => Promise<void>>();
const reload = vi.fn<() => void>();

let client: FakeClient;

beforeEach(() => {
  client = useFakeClient();
  for (const request of [whoAmI, login, register, logout, reload]) request.mockReset();
  whoAmI.mockResolvedValue(null);
  TestBed.configureTestingModule({
    providers: [
      { provide: REQUESTS, useValue: { whoAmI, login, register, logout } },
      { provide: RELOAD, useValue: reload },
    ],
  });
});

async function fillIn(page: Shown<App>): Promise<void> {
  await page.type("#username", "ada");
  await page.type("#password", "a long password");
  await page.click("#account-submit");
}

test("who is logged in sees the chat at once", async () => {
  whoAmI.mockResolvedValue(ada);
  const page = await Shown.create(App);
  expect(page.has("#account")).toBe(false);
  expect(page.texts("#room-title")).toEqual(["lobby"]);
  expect(client.connects).toBe(1);
});

test("others see a form, and the chat after they have logged in", async () => {
  const page = await Shown.create(App);
  expect(page.has("#chat")).toBe(false);
  expect(page.has("#logout")).toBe(false);
  expect(client.connects).toBe(0);
  expect(document.activeElement?.id).toBe("username");
  whoAmI.mockResolvedValue(ada);
  await fillIn(page);
  expect(login).toHaveBeenCalledWith("ada", "a long password");
  expect(page.has("#account")).toBe(false);
  expect(page.texts("#logout")).toEqual(["Log out"]);
  expect(client.connects).toBe(1);
});

test("a new user registers, and is logged in", async () => {
  const page = await Shown.create(App);
  await page.click("#account-mode");
  expect(page.texts("#account-title, #account-submit")).toEqual(["Register", "Register"]);
  expect(page.$<HTMLInputElement>("#password").autocomplete).toBe("new-password");
  whoAmI.mockResolvedValue(ada);
  await fillIn(page);
  expect(register).toHaveBeenCalledWith("ada", "a long password");
  expect(login).toHaveBeenCalledWith("ada", "a long password");
  expect(page.has("#chat")).toBe(true);
});

test("what the server refuses is said, and the password has the focus", async () => {
  const page = await Shown.create(App);
  login.mockRejectedValue(new Refused(401, "The user name or the password is wrong."));
  await fillIn(page);
  expect(page.texts("#account-error")).toEqual(["The user name or the password is wrong."]);
  expect(document.activeElement?.id).toBe("password");
  expect(page.$<HTMLButtonElement>("#account-submit").disabled).toBe(false);
});

test("a browser that does not keep the session is found out", async () => {
  const page = await Shown.create(App);
  await fillIn(page);
  expect(page.texts("#account-reason")[0]).toContain("The browser did not keep the session.");
});

test("the password is shown on request", async () => {
  const page = await Shown.create(App);
  expect(page.$<HTMLInputElement>("#password").type).toBe("password");
  await page.click("#show-password");
  expect(page.$<HTMLInputElement>("#password").type).toBe("text");
});

test("if the server can't be asked, the connection finds out", async () => {
  whoAmI.mockRejectedValue(new TypeError("fetch failed"));
  const page = await Shown.create(App);
  expect(page.has("#chat")).toBe(true);
  expect(client.connects).toBe(1);
});

test("when the session ends, the form says so, and the same user goes on", async () => {
  whoAmI.mockResolvedValue(ada);
  const page = await Shown.create(App);
  client.expire("");
  await page.update();
  expect(page.has("#chat")).toBe(false);
  expect(page.texts("#account-reason")).toEqual(["Your session has ended. Log in again."]);
  expect(page.$<HTMLInputElement>("#username").value).toBe("ada");
  expect(document.activeElement?.id).toBe("password");
  await fillIn(page);
  expect(page.has("#chat")).toBe(true);
  expect(client.connects).toBe(2);
  expect(reload).not.toHaveBeenCalled();
});

test("another user gets a new page", async () => {
  whoAmI.mockResolvedValue(ada);
  await Shown.create(App);
  sessionStorage.setItem("rooms", '["secret"]');
  expect(TestBed.inject(Session).mayGoOnAs(bob)).toBe(false);
  expect(reload).toHaveBeenCalledOnce();
  expect(sessionStorage.getItem("rooms")).toBeNull();
});

test("after a logout a new page says so", async () => {
  whoAmI.mockResolvedValue(ada);
  const page = await Shown.create(App);
  await page.click("#logout");
  expect(logout).toHaveBeenCalledOnce();
  expect(reload).toHaveBeenCalledOnce();
  expect(sessionStorage.getItem("goodbye")).toBe("");
});

test("a logout that fails is explained", async () => {
  whoAmI.mockResolvedValue(ada);
  logout.mockRejectedValue(new TypeError("fetch failed"));
  const page = await Shown.create(App);
  await page.click("#logout");
  expect(page.texts("#logout-error")[0]).toContain("Could not log out. The server can't be");
  expect(reload).not.toHaveBeenCalled();
});

test("who would lose messages by a logout is asked", async () => {
  whoAmI.mockResolvedValue(ada);
  client.unsent = 2;
  const page = await Shown.create(App);
  const dialog = page.$<HTMLDialogElement>("#unsent");
  await page.click("#logout");
  expect(dialog.open).toBe(true);
  expect(page.texts("#unsent-text")[0]).toContain("2 messages. They would be lost.");
  dialog.close("stay");
  await page.update();
  expect(logout).not.toHaveBeenCalled();
  await page.click("#logout");
  dialog.close("leave");
  await vi.waitFor(() => expect(logout).toHaveBeenCalledOnce());
});
