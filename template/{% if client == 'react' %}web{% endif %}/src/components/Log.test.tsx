// @vitest-environment jsdom

import { act, fireEvent, render, screen, within } from "@testing-library/react";
import { expect, test, vi } from "vitest";

import { bob, message, notice } from "../chat/testing.js";
import type { Application } from "../events.js";
import type { RoomView } from "../hooks/index.js";
import type { Entry } from "../realtime/index.js";
import { byId, preparePage } from "../testing.js";
import { Log } from "./Log.js";

preparePage();

const actions = { retry: vi.fn(), discard: vi.fn(), loadEarlier: vi.fn(() => Promise.resolve()) };

function roomWith(entries: Entry<Application>[], changes: Partial<RoomView> = {}): RoomView {
  const room = { name: "lobby", isKnown: true, hasEarlier: false, isLoading: false };
  return { ...room, entries, ...actions, current: room, ...changes } as unknown as RoomView;
}

function open(entries: Entry<Application>[], changes: Partial<RoomView> = {}) {
  const { rerender, container } = render(
    <Log room={roomWith(entries, changes)} unreadFrom={null} />,
  );
  const show = (next: Entry<Application>[], unreadFrom: string | null = null) => {
    rerender(<Log room={roomWith(next, changes)} unreadFrom={unreadFrom} />);
  };
  return { show, container };
}

/** Scroll the log, which is 1,000 pixels high, in a frame of 400. */
function scrollTo(scrollTop: number): void {
  const log = byId("log");
  Object.defineProperty(log, "scrollHeight", { value: 1_000, configurable: true });
  Object.defineProperty(log, "clientHeight", { value: 400, configurable: true });
  log.scrollTop = scrollTop;
  fireEvent.scroll(log);
}

function itemOf(text: string): HTMLElement {
  const item = screen.getByText(text).closest("li");
  if (item === null) throw new Error(`“${text}” is in no item.`);
  return item;
}

test("hostile text stays text", () => {
  const hostile = `<img src=x onerror="alert(1)"> <script>alert(2)</script> {{ 7*7 }}`;
  const { container } = open([message(hostile, { sender: { id: "<b>", name: "<b>eve</b>" } })]);
  expect(screen.getByText(hostile).className).toBe("text");
  screen.getByText("<b>eve</b>");
  expect(container.querySelector("img, script, b")).toBeNull();
});

test("only addresses of the web are links", () => {
  open([message("see https://example.org/a and javascript:alert(1)")]);
  const [link, ...others] = screen.getAllByRole("link");
  expect(others).toEqual([]);
  expect(link?.getAttribute("href")).toBe("https://example.org/a");
  expect(link?.getAttribute("rel")).toBe("noopener noreferrer nofollow");
  expect(link?.getAttribute("target")).toBe("_blank");
});

test("an event that the page does not know is shown with its data", () => {
  const event = { event: "order.shipped", data: { order: 7 } } as object;
  open([message("shipped", { ...event, sender: null })]);
  const item = itemOf("order.shipped");
  within(item).getByText('{"order":7}');
  expect(item.className).toBe("message application");
  expect(item.dataset.hue).toBeUndefined();
});

test("messages have their states, and follow each other under one name", () => {
  open([
    message("first", { sender: bob }),
    message("second", { sender: bob }),
    message("mine", { own: true, state: "pending" }),
  ]);
  expect(itemOf("first").className).toBe("message");
  expect(itemOf("second").className).toBe("message follows");
  expect(itemOf("mine").className).toBe("message own");
  expect(itemOf("mine").dataset.state).toBe("pending");
  within(itemOf("mine")).getByText("Sending…");
});

test("a message that was not sent can be sent again, or discarded", () => {
  open([message("lost", { own: true, state: "failed", reason: "Too big." })]);
  expect(itemOf("lost").textContent).toContain("Too big. Try again Discard");
  screen.getByText("Try again").click();
  expect(actions.retry).toHaveBeenCalledWith("lost");
  expect(document.activeElement).toBe(byId("log"));
  screen.getByText("Discard").click();
  expect(actions.discard).toHaveBeenCalledWith("lost");
});

test("days, notices and the first unread message are marked", () => {
  const { show } = open([]);
  expect(byId("empty").hidden).toBe(false);
  const now = new Date();
  const sentAt = { sentAt: now };
  show([message("read", sentAt), notice("lost"), message("new", sentAt)], "new");
  expect(byId("empty").hidden).toBe(true);
  const items = [...byId("messages").children].map(({ className }) => className);
  expect(items).toEqual(["day", "message", "notice", "unread", "message"]);
});

test("today becomes yesterday", () => {
  vi.useFakeTimers({ now: new Date(2026, 0, 31, 12) });
  open([message("one", { sentAt: new Date() })]);
  screen.getByText("Today");
  act(() => {
    vi.advanceTimersByTime(24 * 60 * 60_000);
  });
  screen.getByText("Yesterday");
  vi.useRealTimers();
});

test("a screen reader hears what is new, and not what is past", () => {
  vi.useFakeTimers();
  const { show } = open([message("old", { isNew: false })]);
  const log = byId("log");
  expect(log.getAttribute("aria-live")).toBe("off");
  vi.advanceTimersByTime(500);
  expect(log.getAttribute("aria-live")).toBeNull();
  show([message("old", { isNew: false }), message("new")]);
  expect(log.getAttribute("aria-live")).toBeNull();
  show([message("older", { isNew: false }), message("old", { isNew: false }), message("new")]);
  expect(log.getAttribute("aria-live")).toBe("off");
  vi.useRealTimers();
});

test("new messages are counted while the reader is elsewhere", () => {
  const { show } = open([message("one")]);
  scrollTo(100);
  show([message("earlier", { isNew: false }), message("one"), message("two")]);
  expect(byId("new-messages").hidden).toBe(false);
  expect(byId("new-messages").textContent).toBe("1 new message");
  fireEvent.click(byId("new-messages"));
  expect(byId("log").scrollTop).toBe(1_000);
  expect(byId("new-messages").hidden).toBe(true);
  expect(document.activeElement).toBe(byId("log"));
});

test("the log scrolls along at the end, and with what the user writes", () => {
  const { show } = open([message("one")]);
  scrollTo(590);
  show([message("one"), message("two")]);
  expect(byId("log").scrollTop).toBe(1_000);
  scrollTo(100);
  show([message("one"), message("two"), message("mine", { own: true, state: "pending" })]);
  expect(byId("log").scrollTop).toBe(1_000);
});

test("what is read stays in its place when earlier messages come", () => {
  const { show } = open([message("one")]);
  scrollTo(100);
  let top = 20;
  const box = () => ({ top, bottom: top + 20 }) as DOMRect;
  screen.getByText("one").getBoundingClientRect = box;
  // The earlier message, 300 pixels high, is put above it.
  Object.defineProperty(byId("messages"), "insertBefore", {
    value: function insertBefore(this: Node, item: Node, before: Node | null) {
      top = 320;
      return Node.prototype.insertBefore.call(this, item, before);
    },
  });
  show([message("earlier", { isNew: false }), message("one")]);
  expect(byId("log").scrollTop).toBe(400);
});

test("earlier messages load by a button, and when the reader scrolls up", () => {
  open([message("one")], { hasEarlier: true });
  const button = byId("earlier");
  expect(button.hidden).toBe(false);
  expect(button.textContent).toBe("Earlier messages");
  fireEvent.click(button);
  expect(actions.loadEarlier).toHaveBeenCalledTimes(1);
  scrollTo(600);
  scrollTo(150);
  expect(actions.loadEarlier).toHaveBeenCalledTimes(2);
});

test("there is no button where nothing is earlier, and it says that it loads", () => {
  open([message("one")], { isLoading: true });
  expect(byId("earlier").hidden).toBe(true);
  expect(byId("earlier").textContent).toBe("Loading…");
});
