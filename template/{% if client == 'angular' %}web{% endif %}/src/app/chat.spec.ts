import { TestBed } from "@angular/core/testing";
import { beforeEach, expect, test } from "vitest";
import { ChatPage } from "./chat-page.js";
import { Chat } from "./chat.js";
import { ada, bob, message, Shown, useFakeClient, type FakeClient } from "./testing.js";

let client: FakeClient;
let page: Shown<ChatPage>;

beforeEach(async () => {
  client = useFakeClient();
  page = await Shown.create(ChatPage);
});

/** Go to an address as the browser does. */
async function goTo(hash: string): Promise<void> {
  history.replaceState(null, "", hash);
  window.dispatchEvent(new HashChangeEvent("hashchange"));
  await page.update();
}

test("the page enters the room that its address names", async () => {
  expect(page.texts("#room-title")).toEqual(["lobby"]);
  await goTo("#side");
  expect(page.texts("#room-title")).toEqual(["side"]);
  expect(page.texts("#rooms .name")).toEqual(["lobby", "side"]);
  expect(page.texts("#rooms a[aria-current=page]")).toEqual(["side"]);
  expect(page.$<HTMLLabelElement>("#composer label").textContent).toBe("Message side");
});

test("an address that changed while the chat was not there is shown when it is again", async () => {
  page.fixture.destroy();
  history.replaceState(null, "", "#side");
  page = await Shown.create(ChatPage);
  expect(page.texts("#room-title")).toEqual(["side"]);
});

test("an address that names no room is explained", async () => {
  await goTo("#no%20room");
  expect(page.texts(".notice")[0]).toContain("There is no room “no room”.");
  expect(location.hash).toBe("#lobby");
});

test("what is unread elsewhere is counted, and marked when the room is opened", async () => {
  await goTo("#side");
  const unread = message("unread", { sender: bob });
  client.in("lobby").receives(unread);
  client.in("lobby").has(message("read"), unread);
  await page.update();
  expect(page.texts("[data-room=lobby] .badge")).toEqual(["1 unread"]);
  expect(document.title).toBe("(1) Example");
  expect(page.$("#unread-elsewhere").hidden).toBe(false);
  await goTo("#lobby");
  expect(page.has(".badge")).toBe(false);
  expect(document.title).toBe("Example");
  expect(page.texts("#messages > li:not(.day) > .text, li.unread")).toEqual([
    "read",
    "New messages",
    "unread",
  ]);
});

test("each room keeps its draft", async () => {
  await page.type("#text", "in the lobby");
  await goTo("#side");
  expect(page.$<HTMLTextAreaElement>("#text").value).toBe("");
  await goTo("#lobby");
  expect(page.$<HTMLTextAreaElement>("#text").value).toBe("in the lobby");
});

test("a bad name is refused with a sentence, and a good one is entered", async () => {
  page.$<HTMLInputElement>("#room-name").value = "no room";
  await page.click("#room-form button");
  expect(page.texts("#room-error")[0]).toContain("A room's name is 1 to 64 letters");
  expect(page.$("#room-name").getAttribute("aria-invalid")).toBe("true");
  page.$<HTMLInputElement>("#room-name").value = "side";
  await page.click("#room-form button");
  expect(location.hash).toBe("#side");
  expect(page.texts("#room-error")).toEqual([""]);
});

test("a room that is left is gone, and the last one can't be left", async () => {
  await goTo("#side");
  await page.click("[data-room=lobby] .leave");
  expect(page.texts("#rooms .name")).toEqual(["side"]);
  expect(page.has(".leave")).toBe(false);
  expect(sessionStorage.getItem("rooms")).toBe('["side"]');
});

test("members are listed by name", async () => {
  expect(page.texts("#members li")).toEqual(["ada (you)", "bob"]);
  client.in("lobby").members = new Map([[ada.id, ada]]);
  client.in("lobby").memberCount = 5;
  client.in("lobby").changes();
  await page.update();
  expect(page.texts("#members li")).toEqual(["ada (you)", "and 4 more"]);
  expect(page.texts(".member-count")).toEqual(["5", "5"]);
});

test("it says who is typing", async () => {
  client.in("lobby").hears(bob);
  await page.update();
  expect(page.texts("#typing")).toEqual(["bob is typing…"]);
  client.in("lobby").receives(message("done", { sender: bob }));
  await page.update();
  expect(page.texts("#typing")).toEqual([""]);
});

test("the browser asks before it closes a page with unsent messages", async () => {
  expect(window.onbeforeunload).toBeNull();
  client.unsent = 1;
  client.changes();
  await page.update();
  expect(window.onbeforeunload).not.toBeNull();
  client.unsent = 0;
  client.changes();
  await page.update();
  expect(window.onbeforeunload).toBeNull();
});

test("what is unread in a hidden tab is read when the tab is visible", async () => {
  const chat = TestBed.inject(Chat);
  chat.setVisible(false);
  client.in("lobby").receives(message("while away", { sender: bob }));
  await page.update();
  expect(document.title).toBe("(1) Example");
  chat.setVisible(true);
  await page.update();
  expect(document.title).toBe("Example");
});
