import { expect, test } from "vitest";

import { ada, bob, message, notice } from "./testing.js";
import { dayName, hueOf, rows, type Row } from "./rows.js";

const NOW = new Date(2026, 0, 31, 18, 0);

function shown(entries: Parameters<typeof rows>[0], unreadFrom: string | null = null): string[] {
  return rows(entries, { unreadFrom, now: NOW }).map((row) => `${row.kind} ${wordsOf(row)}`);
}

function wordsOf(row: Row): string {
  return row.kind === "day" || row.kind === "notice" ? row.text : row.key;
}

function at(day: number, hour: number, minute = 0): Date {
  return new Date(2026, 0, day, hour, minute);
}

test("a day separator comes before the first message of each day", () => {
  const entries = [
    message("on Friday", { sentAt: at(30, 9) }),
    message("later on Friday", { sentAt: at(30, 23) }),
    notice("the connection was lost"),
    message("on Saturday", { sentAt: at(31, 0) }),
  ];
  expect(shown(entries)).toEqual([
    "day Yesterday",
    "message on Friday",
    "message later on Friday",
    "notice the connection was lost",
    "day Today",
    "message on Saturday",
  ]);
});

test("a day begins once, even if a clock is a little behind", () => {
  const entries = [
    message("one", { sentAt: at(31, 0) }),
    message("two", { sentAt: at(30, 23, 59) }),
    message("three", { sentAt: at(31, 0, 1) }),
  ];
  expect(shown(entries)).toEqual(["day Today", "message one", "message two", "message three"]);
});

test("other days have their full date", () => {
  const date = at(1, 12);
  const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full" }).format(date);
  expect(dayName(date, NOW)).toBe(full);
  expect(dayName(new Date(2025, 11, 31, 23), new Date(2026, 0, 1, 1))).toBe("Yesterday");
});

test("the unread mark comes before the first unread message, below its day", () => {
  const entries = [message("read", { sentAt: at(30, 9) }), message("unread"), message("another")];
  expect(shown(entries, "unread")).toEqual([
    "day Yesterday",
    "message read",
    "day Today",
    "unread unread",
    "message unread",
    "message another",
  ]);
});

test("a message soon after one of the same sender follows it", () => {
  const entries = [
    message("first", { sentAt: at(31, 9, 0) }),
    message("soon", { sentAt: at(31, 9, 4) }),
    message("late", { sentAt: at(31, 9, 9) }),
    message("of another", { sentAt: at(31, 9, 9), sender: bob }),
    message("of the application", { sentAt: at(31, 9, 9), sender: null }),
    message("and again", { sentAt: at(31, 9, 9), sender: null }),
    notice("a notice"),
    message("after a notice", { sentAt: at(31, 9, 9), sender: null }),
  ];
  const follows = rows(entries, { unreadFrom: null, now: NOW })
    .filter((row) => row.kind === "message")
    .filter((row) => row.follows)
    .map((row) => row.key);
  expect(follows).toEqual(["soon", "and again"]);
});

test("every row has a key of its own", () => {
  const entries = [
    message("one", { sentAt: at(29, 1) }),
    message("two", { sentAt: at(30, 1) }),
    message("three", { sentAt: at(31, 1) }),
  ];
  const keys = rows(entries, { unreadFrom: "two", now: NOW }).map(({ key }) => key);
  expect(new Set(keys).size).toBe(7);
  expect(keys).toHaveLength(7);
});

test("the colour depends on the sender alone", () => {
  const [, first] = rows([message("one")], { unreadFrom: null, now: NOW });
  expect(first).toMatchObject({ hue: hueOf(ada.id) });
  const [, application] = rows([message("two", { sender: null })], { unreadFrom: null, now: NOW });
  expect(application).toMatchObject({ hue: null });
  const hues = new Set(Array.from({ length: 50 }, (_, number) => hueOf(`user ${number}`)));
  expect([...hues].sort()).toEqual([0, 1, 2, 3, 4, 5]);
});
