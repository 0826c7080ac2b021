import { beforeEach, expect, test } from "vitest";
import { RoomPage } from "./room-page.js";
import { Shown, useFakeClient, type FakeRoom } from "./testing.js";

let room: FakeRoom;
let page: Shown<RoomPage>;

beforeEach(async () => {
  const client = useFakeClient();
  page = await Shown.create(RoomPage);
  room = client.in("lobby");
});

test("Enter sends a message, and Shift+Enter begins a new line", async () => {
  await page.type("#text", "Hello  ");
  expect(await page.press("#text", { key: "Enter", shiftKey: true })).toBe(true);
  expect(room.calls).toEqual([]);
  expect(await page.press("#text", { key: "Enter" })).toBe(false);
  expect(room.calls).toEqual(["chat.message Hello"]);
  expect(page.$<HTMLTextAreaElement>("#text").value).toBe("");
});

test("Enter that chooses a word of an input method sends nothing", async () => {
  await page.type("#text", "にほn");
  await page.press("#text", { key: "Enter", isComposing: true });
  expect(room.calls).toEqual([]);
});

test("the button sends, and the focus is in the field again", async () => {
  await page.type("#text", "Hello");
  await page.click("#send");
  expect(room.calls).toEqual(["chat.message Hello"]);
  expect(document.activeElement?.id).toBe("text");
});

test("nothing is sent that is empty or too long", async () => {
  await page.type("#text", " \n ");
  await page.press("#text", { key: "Enter" });
  await page.type("#text", "x".repeat(4097));
  await page.press("#text", { key: "Enter" });
  expect(room.calls).toEqual([]);
  expect(page.texts("#counter")[0]).toContain("1 characters too many");
  expect(page.$<HTMLButtonElement>("#send").disabled).toBe(true);
  expect(page.$("#text").getAttribute("aria-invalid")).toBe("true");
});

test("the others hear that the user is typing", async () => {
  await page.type("#text", "H");
  expect(room.sent).toEqual(["chat.typing"]);
});
