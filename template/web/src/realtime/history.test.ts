import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { Client, Room } from "./index.js";
import { ADA, ScriptedServer, connecting, messageOf, texts, type Chat } from "./testing.js";

let server: ScriptedServer;
let client: Client<Chat>;
let room: Room<Chat>;

beforeEach(async () => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  server = new ScriptedServer();
  client = await connecting();
  room = client.enter("lobby");
  client.focus("lobby");
  server.accept(ADA, 0);
  server.joined(1_000);
  for (let offset = 991; offset <= 1_000; offset += 1) server.message(offset, `${offset}`);
  server.heard();
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

/** Answer a request for history. */
function answer(first: number, last: number, { complete = false, epoch = "e1" } = {}): void {
  const messages = [];
  for (let offset = first; offset <= last; offset += 1) {
    messages.push(messageOf(offset, `${offset}`));
  }
  server.says({ type: "history", room: "lobby", epoch, messages, complete });
}

function range(first: number, last: number): string[] {
  return Array.from({ length: last - first + 1 }, (_, index) => `${first + index}`);
}

function ask(before: number): object {
  return { type: "history", room: "lobby", before, limit: 50 };
}

it("earlier messages come in front of the others, a page at a time", async () => {
  const heard = vi.fn();
  room.onMessage(heard);
  expect(room.hasEarlier).toBe(true);
  const loaded = room.loadEarlier();
  void room.loadEarlier();
  expect(room.isLoading).toBe(true);
  expect(server.heard()).toEqual([ask(991)]);
  answer(941, 990);
  await loaded;
  expect(room.isLoading).toBe(false);
  expect(texts(room.entries)).toEqual(range(941, 1_000));
  void room.loadEarlier();
  expect(server.heard()).toEqual([ask(941)]);
  answer(930, 940, { complete: true });
  expect(room.hasEarlier).toBe(false);
  await room.loadEarlier();
  expect(server.heard()).toEqual([]);
  expect(texts(room.entries)).toEqual(range(930, 1_000));
  expect(heard).not.toHaveBeenCalled();
});

it("live messages come meanwhile, and none is shown twice", () => {
  void room.loadEarlier();
  server.message(1_001, "1001");
  answer(989, 990);
  answer(989, 990);
  expect(texts(room.entries)).toEqual(range(989, 1_001));
});

it("nothing is earlier than the first message of a room, or than nothing", async () => {
  const side = client.enter("side");
  expect(side.hasEarlier).toBe(false);
  await side.loadEarlier();
  server.joined(0, { room: "side" });
  expect(side.hasEarlier).toBe(false);
  server.message(1, "one", { room: "side" });
  expect(side.hasEarlier).toBe(false);
});

it("a notice above the first message is no obstacle", () => {
  const side = client.enter("side");
  side.notice("It took a while.");
  server.joined(100, { room: "side" });
  server.message(100, "100", { room: "side" });
  expect(side.hasEarlier).toBe(true);
});

it("a page without messages is the last one", () => {
  void room.loadEarlier();
  answer(1, 0);
  expect(room.hasEarlier).toBe(false);
});

it("the answer to another request is not taken for this one's", async () => {
  void room.loadEarlier();
  answer(941, 990);
  void room.loadEarlier();
  server.heard();
  answer(941, 990, { complete: true });
  expect(room.isLoading).toBe(true);
  answer(931, 940);
  expect(texts(room.entries)).toEqual(range(931, 1_000));
  answer(900, 930);
  expect(room.entries).toHaveLength(70);
  await vi.advanceTimersByTimeAsync(60_000);
});

it("messages of another epoch have no place", () => {
  void room.loadEarlier();
  answer(941, 990, { epoch: "e2" });
  expect(room.isLoading).toBe(false);
  expect(room.entries).toHaveLength(10);
});

it("nothing is put in front of an epoch that has ended", async () => {
  server.close(1012);
  await vi.advanceTimersByTimeAsync(500);
  server.accept();
  server.joined(90, { epoch: "e2" });
  server.joined(90, { epoch: "e2" });
  server.message(90, "90 of e2");
  expect(room.entries).toHaveLength(12);
  expect(room.hasEarlier).toBe(false);
  // Once the old messages are dropped, there may be earlier ones again.
  for (let offset = 91; offset < 600; offset += 1) server.message(offset, `${offset} of e2`);
  expect(room.hasEarlier).toBe(true);
});

it("the request outlives the connection", async () => {
  void room.loadEarlier();
  server.heard();
  server.close(1012);
  await vi.advanceTimersByTimeAsync(500);
  server.accept();
  server.heard();
  server.joined(1_000, { recovered: true });
  expect(server.heard()).toEqual([ask(991)]);
  answer(990, 990);
  expect(room.entries).toHaveLength(11);
});

it("the request is given up after 20 seconds", async () => {
  const loaded = room.loadEarlier();
  server.close(1012);
  await vi.advanceTimersByTimeAsync(20_000);
  await loaded;
  expect([room.isLoading, room.hasEarlier]).toEqual([false, true]);
  answer(990, 990);
  expect(room.entries).toHaveLength(10);
});

it("the request is sent again when the server asks for patience", async () => {
  void room.loadEarlier();
  server.heard();
  const detail = "too much history was asked for: try again in 3 s";
  server.error("rate_limited", undefined, detail);
  await vi.advanceTimersByTimeAsync(2_900);
  expect(server.heard()).toEqual([]);
  await vi.advanceTimersByTimeAsync(200);
  expect(server.heard()).toEqual([ask(991)]);
  server.error("rate_limited", undefined, "at most 20 messages a second: slow down");
  await vi.advanceTimersByTimeAsync(2_000);
  expect(server.heard()).toEqual([ask(991)]);
  expect(room.entries).toHaveLength(10);
});

it.each(["unavailable", "not_joined"])("the request ends with an error (%s)", async (code) => {
  const loaded = room.loadEarlier();
  server.heard();
  server.error(code);
  await loaded;
  expect([room.isLoading, room.hasEarlier]).toEqual([false, true]);
});

it("nothing is sent any more to a room that the user was removed from", async () => {
  const loaded = room.loadEarlier();
  for (let number = 0; number < 20; number += 1) {
    room.publish("chat.message", { text: `${number}` });
  }
  server.heard();
  await vi.advanceTimersByTimeAsync(60);
  server.says({ type: "left", room: "lobby", reason: "evicted" });
  await loaded;
  server.heard();
  await vi.advanceTimersByTimeAsync(5_000);
  expect(server.heard()).toEqual([]);
  expect([room.isLoading, room.hasEarlier]).toEqual([false, false]);
});

it("at most 2,000 messages are kept, and 500 once nobody looks at them", () => {
  for (let first = 941; room.hasEarlier; first -= 50) {
    void room.loadEarlier();
    answer(Math.max(first, 1), first + 49);
    if (first < 50) break;
  }
  for (let offset = 1_001; offset < 3_000; offset += 1) server.message(offset, `${offset}`);
  expect(texts(room.entries)).toEqual(range(1_000, 2_999));
  expect(room.hasEarlier).toBe(false);
  client.focus("elsewhere");
  expect(texts(room.entries)).toEqual(range(2_500, 2_999));
  expect(room.hasEarlier).toBe(true);
});
