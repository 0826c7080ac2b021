import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { RoomPage } from "./room-page.js";
import { bob, message, notice, Shown, useFakeClient, type FakeRoom } from "./testing.js";

let room: FakeRoom;
let page: Shown<RoomPage>;

beforeEach(async () => {
  const client = useFakeClient();
  page = await Shown.create(RoomPage);
  room = client.in("lobby");
});

afterEach(() => {
  vi.useRealTimers();
});

/** Give the log a height of 100 pixels and its content one of 1,000. jsdom has no layout. */
function scrollTo(top: number): void {
  const log = page.$("#log");
  Object.defineProperty(log, "clientHeight", { value: 100, configurable: true });
  Object.defineProperty(log, "scrollHeight", { value: 1000, configurable: true });
  log.scrollTop = top;
  log.dispatchEvent(new Event("scroll"));
}

test("an empty room says so", async () => {
  expect(page.texts("#empty")).toEqual(["Nothing has been written here lately."]);
  room.isKnown = false;
  room.changes();
  await page.update();
  expect(page.has("#empty")).toBe(false);
});

test("messages, notices and days are shown in order", async () => {
  room.has(
    message("one"),
    message("two", { sender: bob }),
    notice("Messages may be missing here."),
  );
  await page.update();
  expect(page.texts("#messages > li > .text, #messages > .notice")).toEqual([
    "one",
    "two",
    "Messages may be missing here.",
  ]);
  expect(page.texts("li.day")).toHaveLength(1);
  expect(page.texts(".sender")).toEqual(["ada", "bob"]);
  const { dataset } = page.$("#messages .message");
  expect(dataset).toMatchObject({ id: "one", state: "sent", sender: "id-of-ada" });
});

test("hostile text stays text", async () => {
  const hostile = '<img src=x onerror="alert(1)">&amp;<script>alert(1)</script>';
  room.has(message(hostile));
  await page.update();
  expect(page.$(".text").textContent).toBe(hostile);
  expect(page.has("#messages img, #messages script")).toBe(false);
});

test("addresses are links, other schemes are not, and white space is kept", async () => {
  const text = "see  https://example.com/a.\n javascript:alert(1) ";
  room.has(message("key", { data: { text } }));
  await page.update();
  expect(page.$(".text").textContent).toBe(text);
  const links = document.querySelectorAll<HTMLAnchorElement>(".text a");
  expect(Array.from(links, ({ href }) => href)).toEqual(["https://example.com/a"]);
  expect(links[0]?.rel).toBe("noopener noreferrer nofollow");
  expect(links[0]?.target).toBe("_blank");
});

test("an event that the page does not know is shown by its name and data", async () => {
  const unknown = { event: "order.shipped", data: { order: 7 } } as unknown as object;
  room.has(message("key", { sender: null, ...unknown }));
  await page.update();
  expect(page.$(".text").textContent).toBe('order.shipped {"order":7}');
  expect(page.texts(".application .sender")).toEqual(["Example"]);
});

test("a message that failed can be sent again or discarded", async () => {
  room.has(message("key", { own: true, state: "failed", reason: "Too many messages." }));
  await page.update();
  expect(page.$(".delivery").textContent.replace(/\s+/g, " ").trim()).toBe(
    "Too many messages. Try again Discard",
  );
  await page.click(".retry");
  expect(document.activeElement?.id).toBe("log");
  await page.click(".discard");
  expect(room.calls).toEqual(["retry key", "discard key"]);
});

test("a message keeps its item when it is acknowledged", async () => {
  room.has(message("key", { own: true, state: "pending" }));
  await page.update();
  const item = page.$(".message");
  expect(page.texts(".delivery")).toEqual(["Sending…"]);
  room.has(message("key", { own: true }));
  await page.update();
  expect(page.$(".message")).toBe(item);
  expect(page.texts(".delivery")).toEqual([""]);
});

test("a screen reader does not announce what is past", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const live = (): string | null => page.$("#log").getAttribute("aria-live");
  const wait = async (): Promise<void> => {
    vi.advanceTimersByTime(600);
    page.fixture.detectChanges();
  };
  room.has(message("past", { isNew: false }));
  page.fixture.detectChanges();
  expect(live()).toBe("off");
  await wait();
  expect(live()).toBeNull();
  room.has(message("past", { isNew: false }), message("news"));
  page.fixture.detectChanges();
  expect(live()).toBeNull();
});

test("earlier messages are loaded by the button, and by scrolling up to the start", async () => {
  expect(page.has("#earlier")).toBe(false);
  room.hasEarlier = true;
  room.has(message("one"));
  await page.update();
  await page.click("#earlier");
  expect(room.calls).toEqual(["loadEarlier"]);
  room.isLoading = true;
  room.changes();
  await page.update();
  expect(page.texts("#earlier")).toEqual(["Loading…"]);
  // A disabled button would lose the focus.
  expect(page.$("#earlier").getAttribute("aria-disabled")).toBe("true");
  expect(page.has("#earlier:disabled")).toBe(false);
  await page.click("#earlier");
  expect(room.calls).toEqual(["loadEarlier"]);
  room.isLoading = false;
  room.changes();
  scrollTo(500);
  scrollTo(100);
  expect(room.calls).toEqual(["loadEarlier", "loadEarlier"]);
  scrollTo(150);
  expect(room.calls).toHaveLength(2);
});

test("the focus is not lost with the button for earlier messages", async () => {
  room.hasEarlier = true;
  room.has(message("one"));
  await page.update();
  page.$("#earlier").focus();
  room.hasEarlier = false;
  room.has(message("zero", { isNew: false }), message("one"));
  await page.update();
  expect(document.activeElement?.id).toBe("log");
});

test("who reads further up is told of new messages", async () => {
  room.has(message("one"));
  await page.update();
  expect(page.has("#new-messages")).toBe(false);
  scrollTo(300);
  room.has(message("one"), message("two"), message("three"));
  await page.update();
  expect(page.texts("#new-messages")).toEqual(["2 new messages"]);
  expect(page.$("#log").scrollTop).toBe(300);
  await page.click("#new-messages");
  expect(page.has("#new-messages")).toBe(false);
  expect(page.$("#log").scrollTop).toBe(1000);
});

test("an own message leads to the end of the log", async () => {
  scrollTo(300);
  room.has(message("mine", { own: true, state: "pending" }));
  await page.update();
  expect(page.$("#log").scrollTop).toBe(1000);
});
