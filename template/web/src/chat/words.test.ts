import { expect, test } from "vitest";

import { ada, bob, message } from "./testing.js";
import * as words from "./words.js";

test("while it tries again, the page goes on to say what was wrong", () => {
  const waiting = words.connectionWords(
    { state: "waiting", reason: "The connection was lost.", retryAt: 1 },
    words.SILENT,
  );
  expect(waiting).toEqual({
    state: "Reconnecting…",
    trouble: "The connection was lost.",
    button: "Try now",
    isTrying: false,
  });
  const trying = words.connectionWords({ state: "connecting", reason: "", retryAt: null }, waiting);
  expect(trying).toEqual({
    state: "Reconnecting…",
    trouble: "The connection was lost.",
    button: "",
    isTrying: true,
  });
  const open = words.connectionWords({ state: "open", reason: "", retryAt: null }, trying);
  expect(open).toEqual({ state: "Connected", trouble: "", button: "", isTrying: false });
});

test("the first attempt is one to connect, and a final end can be undone by hand", () => {
  const first = words.connectionWords(
    { state: "connecting", reason: "", retryAt: null },
    words.SILENT,
  );
  expect(first.state).toBe("Connecting…");
  const closed = words.connectionWords({ state: "closed", reason: "No.", retryAt: null }, first);
  expect(closed).toMatchObject({ state: "Disconnected", trouble: "No.", button: "Connect again" });
  const again = words.connectionWords({ state: "connecting", reason: "", retryAt: null }, closed);
  expect(again).toMatchObject({ state: "Connecting…", trouble: "" });
});

test("the countdown rounds up, and never goes below zero", () => {
  expect(words.countdown(10_000, false, 7_900)).toBe("Next attempt in 3 s.");
  expect(words.countdown(10_000, false, 11_000)).toBe("Next attempt in 0 s.");
  expect(words.countdown(null, true, 0)).toBe("Trying…");
  expect(words.countdown(null, false, 0)).toBe("");
});

test("the names of people who are typing are marked as names", () => {
  const sentence = (...names: string[]) =>
    words
      .whoIsTyping(names)
      .map(({ text, isName }) => (isName ? `[${text}]` : text))
      .join("");
  expect(sentence()).toBe("");
  expect(sentence("ada")).toBe("[ada] is typing…");
  expect(sentence("ada", "bob")).toBe("[ada] and [bob] are typing…");
  expect(sentence("ada", "bob", "eve")).toBe("Several people are typing…");
});

test("members are listed by name, and the rest is counted", () => {
  const members = new Map([bob, ada].map((member) => [member.id, member]));
  expect(words.memberList(members, 2)).toEqual({ listed: [ada, bob], more: "" });
  expect(words.memberList(members, 5)).toEqual({ listed: [ada, bob], more: "and 3 more" });
  const tooMany = { listed: [], more: "This room is too large for a list." };
  expect(words.memberList(null, 5_000)).toEqual(tooMany);
  const many = Array.from({ length: 300 }, (_, id) => ({ id: `${id}`, name: `user ${id}` }));
  const list = words.memberList(new Map(many.map((member) => [member.id, member])), 300);
  expect(list.listed).toHaveLength(200);
  expect(list.more).toBe("and 100 more");
});

test("only a chat message with a text has a text", () => {
  expect(words.textOf(message("hello"))).toBe("hello");
  const other = { event: "order.shipped", data: { text: "hello" } } as object;
  expect(words.textOf(message("hello", other))).toBeNull();
  for (const data of [{}, { text: 7 }, null, "hello", []]) {
    expect(words.textOf(message("hello", { data } as object))).toBeNull();
  }
});

test("an own message says whether it was delivered", () => {
  expect(words.deliveryWords(message("a"))).toBe("");
  expect(words.deliveryWords(message("a", { state: "pending" }))).toBe("Sending…");
  const failed = message("a", { state: "failed", reason: "Too big." });
  expect(words.deliveryWords(failed)).toBe("Too big.");
});

test("the counter appears near the limit, and counts characters", () => {
  expect(words.draft("hello \n")).toEqual({ toSend: "hello", counter: "", isTooLong: false });
  expect(words.draft(" \n ").toSend).toBe("");
  expect(words.draft("x".repeat(3_895)).counter).toBe("");
  expect(words.draft("x".repeat(3_896)).counter).toBe("200 characters left.");
  expect(words.draft("💬".repeat(4_096))).toMatchObject({ counter: "0 characters left." });
  expect(words.draft("💬".repeat(4_098))).toEqual({
    toSend: "",
    counter: "2 characters too many: at most 4096 fit in a message.",
    isTooLong: true,
  });
});

test("counts are words", () => {
  expect(words.newMessages(1)).toBe("1 new message");
  expect(words.newMessages(2)).toBe("2 new messages");
  expect(words.badge(99)).toBe("99");
  expect(words.badge(100)).toBe("99+");
});
