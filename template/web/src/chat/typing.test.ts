import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { ada, bob, FakeRoom, message } from "./testing.js";
import { Typing } from "./typing.js";

let room: FakeRoom;
let typing: Typing;

beforeEach(() => {
  vi.useFakeTimers();
  room = new FakeRoom();
  typing = new Typing(room.room);
});

afterEach(() => {
  typing.close();
  vi.useRealTimers();
});

test("a user counts as typing for five seconds after a signal", () => {
  room.hears(bob);
  expect(typing.names).toEqual(["bob"]);
  vi.advanceTimersByTime(4_000);
  room.hears(bob);
  vi.advanceTimersByTime(4_999);
  expect(typing.names).toEqual(["bob"]);
  vi.advanceTimersByTime(1);
  expect(typing.names).toEqual([]);
});

test("who has sent a message has stopped typing", () => {
  room.hears(ada);
  room.hears(bob);
  room.receives(message("done", { sender: bob }));
  expect(typing.names).toEqual(["ada"]);
  room.receives(message("of the application", { sender: null }));
  expect(typing.names).toEqual(["ada"]);
});

test("who has left the room is not typing", () => {
  room.hears(ada);
  room.hears(bob);
  room.members.delete(bob.id);
  room.changes();
  expect(typing.names).toEqual(["ada"]);
});

test("outside the room nobody is typing", () => {
  room.hears(bob);
  room.state = "outside";
  room.changes();
  expect(typing.names).toEqual([]);
});

test("listeners hear of changes only", () => {
  const listener = vi.fn();
  const stop = typing.subscribe(listener);
  room.hears(bob);
  const { names } = typing;
  room.hears(bob);
  room.changes();
  expect(listener).toHaveBeenCalledTimes(1);
  expect(typing.names).toBe(names);
  stop();
  room.hears(ada);
  expect(listener).toHaveBeenCalledTimes(1);
});

test("the others hear of typing at most every three seconds", () => {
  typing.typed("G");
  typing.typed("Go");
  expect(room.sent).toEqual(["chat.typing"]);
  vi.advanceTimersByTime(3_000);
  expect(room.sent).toHaveLength(1);
  typing.typed("Good");
  expect(room.sent).toHaveLength(2);
});

test("nobody hears of an empty text, or outside the room", () => {
  typing.typed(" \n");
  room.state = "joining";
  typing.typed("Good");
  expect(room.sent).toEqual([]);
  room.state = "inside";
  typing.typed("Good");
  expect(room.sent).toEqual(["chat.typing"]);
});

test("nothing is left of it when it is closed", () => {
  room.hears(bob);
  typing.close();
  expect(room.listeners).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
});
