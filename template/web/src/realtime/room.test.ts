import { describe, expect, it, vi } from "vitest";
import {
  JOIN,
  client,
  enter,
  inLobby,
  publish,
  reconnect,
  room,
  server,
  since,
  state,
} from "./lobby.testing.js";
import { BOB, settle, texts } from "./testing.js";

const MISSED = "The connection was interrupted. Messages may be missing here.";
const EVICTED = "You were removed from this room.";

inLobby();

describe("a room", () => {
  it("shows the recent messages, then new ones", () => {
    const heard: string[] = [];
    room.onMessage((entry) => heard.push(entry.id));
    expect(room.state).toBe("joining");
    server.message(1, "too early to have a place");
    server.joined(2);
    expect(room.state).toBe("replaying");
    server.message(1, "one");
    expect(room.isKnown).toBe(false);
    server.message(2, "two");
    expect([room.state, room.isKnown]).toEqual(["inside", true]);
    server.message(3, "three");
    expect(texts(room.entries)).toEqual(["one", "two", "three"]);
    expect(room.entries.map((entry) => entry.kind === "message" && entry.isNew)).toEqual([
      false,
      false,
      true,
    ]);
    expect(heard).toEqual(["three"]);
  });

  it("asks for what it missed, from where it stopped", async () => {
    enter();
    server.says({ type: "resync", room: "lobby", epoch: "e1", offset: 7 });
    expect(server.heard()).toEqual([since(0)]);
    server.joined(10, { recovered: false });
    expect(server.heard()).toEqual([JOIN]);
    server.joined(10);
    server.message(8, "eight");
    server.message(9, "nine");
    await reconnect();
    expect(server.heard()).toEqual([since(9)]);
    server.joined(11, { recovered: true });
    server.message(10, "ten");
    await reconnect();
    expect(server.heard()).toEqual([since(10)]);
    server.joined(11, { recovered: true });
    server.message(11, "eleven");
    server.message(12, "twelve");
    expect(texts(room.entries)).toEqual([MISSED, "eight", "nine", "ten", "eleven", "twelve"]);
  });

  it("says once that messages may be missing", async () => {
    enter();
    server.message(1, "one");
    for (const epoch of ["e2", "e3"]) {
      await reconnect();
      server.heard();
      server.joined(0, { epoch });
      expect(server.heard()).toEqual([JOIN]);
      server.joined(0, { epoch });
    }
    expect(texts(room.entries)).toEqual(["one", MISSED]);
  });

  it("does not believe that another epoch continues its own", async () => {
    enter();
    server.message(5, "five");
    await reconnect();
    server.heard();
    server.joined(9, { recovered: true, epoch: "e2" });
    expect(server.heard()).toEqual([JOIN]);
    server.joined(1, { epoch: "e2" });
    server.message(1, "one of e2");
    expect(texts(room.entries)).toEqual(["five", MISSED, "one of e2"]);
  });

  it("takes no gap between offsets for a loss", async () => {
    enter();
    for (const offset of [3, 40, 41, 1000]) server.message(offset, `at ${offset}`);
    expect(texts(room.entries)).toEqual(["at 3", "at 40", "at 41", "at 1000"]);
    expect(server.heard()).toEqual([]);
    await reconnect();
    expect(server.heard()).toEqual([since(1000)]);
  });

  it("shows nothing twice", () => {
    enter();
    server.message(1, "one");
    server.message(1, "another with the same offset");
    server.message(2, "two");
    server.message(3, "two");
    server.message(4, "four");
    expect(texts(room.entries)).toEqual(["one", "two", "four"]);
  });

  it("puts a message that comes late in its place, if that is known", async () => {
    enter();
    server.message(2, "two");
    room.notice("in between");
    server.message(4, "four");
    server.message(3, "three");
    server.message(1, "one");
    expect(texts(room.entries)).toEqual(["one", "two", "in between", "three", "four"]);
    await reconnect();
    server.joined(20);
    server.joined(20);
    server.message(19, "nineteen");
    server.message(20, "twenty");
    server.message(18, "of the gap");
    expect(texts(room.entries).slice(-3)).toEqual([MISSED, "nineteen", "twenty"]);
  });

  it("ends a replay by the answer to a ping, if its last message can't be read", () => {
    server.heard();
    server.joined(3);
    server.message(1, "one");
    expect(server.frames()).toEqual([{ type: "ping" }]);
    server.says({ type: "pong" });
    expect(room.state).toBe("inside");
    server.message(4, "four");
    expect(texts(room.entries)).toEqual(["one", "four"]);
  });

  it("pings again when a ping was one message too many", async () => {
    server.heard();
    server.joined(3);
    expect(server.frames()).toEqual([{ type: "ping" }]);
    server.error("rate_limited", undefined, "slow down", null);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(server.frames()).toEqual([{ type: "ping" }]);
    expect(room.state).toBe("replaying");
  });

  it("keeps the newest 500 entries", () => {
    enter();
    for (let offset = 1; offset <= 600; offset += 1) server.message(offset, `${offset}`);
    expect(room.entries).toHaveLength(500);
    expect(texts(room.entries).at(0)).toBe("101");
    // Its id is forgotten, but not its place.
    server.message(100, "100");
    expect(texts(room.entries).at(-1)).toBe("600");
  });

  it("that can't be entered says so, and tries again if that may help", async () => {
    server.heard();
    server.error("internal", undefined, "a traceback");
    expect(room.state).toBe("refused");
    const words = "Something went wrong in the server. This page keeps trying.";
    expect(texts(room.entries)).toEqual([words]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(server.heard()).toEqual([JOIN]);
    server.error("unavailable");
    await vi.advanceTimersByTimeAsync(2_000);
    expect(server.heard()).toEqual([JOIN]);
    expect(texts(room.entries)).toEqual([words]);
    server.error("forbidden");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(server.heard()).toEqual([]);
    server.says({ type: "left", room: "elsewhere" });
    expect(server.heard()).toEqual([JOIN]);
  });

  it("with too much to replay is entered when the server says", async () => {
    enter();
    server.says({ type: "resync", room: "lobby", epoch: "e1", offset: 40 });
    server.heard();
    server.error("rate_limited", undefined, "too much history was asked for: try again in 7 s");
    expect(texts(room.entries).at(-1)).toContain("tries again by itself in 7 seconds.");
    const side = client.enter("side");
    expect(server.heard()).toEqual([{ type: "join", room: "side" }]);
    server.joined(0, { room: "side" });
    expect(side.state).toBe("inside");
    await vi.advanceTimersByTimeAsync(6_900);
    expect(server.heard()).toEqual([]);
    await vi.advanceTimersByTimeAsync(200);
    expect(server.heard()).toEqual([since(0)]);
  });

  it("is joined again after the rate limit refused the join", async () => {
    server.heard();
    server.error("rate_limited", undefined, "slow down");
    await vi.advanceTimersByTimeAsync(1_500);
    expect(server.heard()).toEqual([]);
    await vi.advanceTimersByTimeAsync(500);
    expect(server.heard()).toEqual([JOIN]);
    expect(room.entries).toEqual([]);
  });

  it("that the user was removed from stays as it is until the user writes", async () => {
    enter();
    server.message(1, "one");
    publish("sent");
    server.heard();
    server.says({ type: "left", room: "lobby", reason: "evicted" });
    server.message(2, "not for this user");
    expect(texts(room.entries)).toEqual(["one", EVICTED, "sent"]);
    expect(state(-1)).toBe(`failed ${EVICTED}`);
    expect(room.memberCount).toBe(0);
    server.says({ type: "left", room: "elsewhere" });
    await reconnect();
    publish("written meanwhile");
    expect(state(-1)).toBe(`failed ${EVICTED}`);
    expect(server.heard()).toEqual([]);
    room.retry(room.entries.at(-1)?.key ?? "");
    expect(server.heard()).toEqual([since(1)]);
    server.joined(1, { recovered: true });
    expect(server.heard()).toMatchObject([{ data: { text: "written meanwhile" } }]);
    expect(room.members?.get(BOB.id)).toEqual(BOB);
  });

  it("has a name that the server accepts, or is the user's own", () => {
    for (const name of ["", "a b", "@someone", "x".repeat(65), "ä"]) {
      expect(() => client.enter(name)).toThrow(RangeError);
    }
    server.heard();
    client.enter("@me");
    client.enter("orders:7");
    expect(server.heard()).toEqual([
      { type: "join", room: "@me" },
      { type: "join", room: "orders:7" },
    ]);
  });

  it("is entered once, and left", () => {
    enter();
    expect(client.enter("lobby")).toBe(room);
    const { rooms } = client;
    client.leave("lobby");
    expect([...rooms.keys(), ...client.rooms.keys()]).toEqual(["lobby"]);
    expect(server.heard()).toEqual([{ type: "leave", room: "lobby" }]);
    expect(client.enter("lobby")).not.toBe(room);
    expect(server.heard()).toEqual([JOIN]);
  });

  it("is left without a word if the user is not in it", () => {
    enter();
    server.says({ type: "left", room: "lobby", reason: "evicted" });
    client.leave("lobby");
    expect(server.heard()).toEqual([]);
  });

  it("in focus comes first", async () => {
    client.enter("side");
    client.enter("other");
    client.focus("other");
    await reconnect();
    expect(server.heard().map((message) => "room" in message && message.room)).toEqual([
      "other",
      "lobby",
      "side",
    ]);
  });

  it("tells its listeners once about all changes of a moment", async () => {
    const listener = vi.fn();
    await settle();
    room.subscribe(listener);
    const { entries, version } = room;
    server.joined(0);
    server.message(1, "one");
    server.message(2, "two");
    await settle();
    expect(listener).toHaveBeenCalledOnce();
    expect(room.version).toBeGreaterThan(version);
    expect(room.entries).not.toBe(entries);
    expect(room.entries).toBe(room.entries);
  });

  it("does not suffer from a listener that throws", async () => {
    const errors: unknown[] = [];
    vi.stubGlobal("queueMicrotask", (task: () => void) => {
      void Promise.resolve()
        .then(task)
        .catch((error: unknown) => errors.push(error));
    });
    enter();
    const heard: string[] = [];
    room.onMessage(() => {
      throw new Error("a fault of the page");
    });
    room.onMessage(({ id }) => heard.push(id));
    server.message(1, "one");
    server.message(2, "two");
    await settle();
    expect(heard).toEqual(["one", "two"]);
    expect(errors).toHaveLength(2);
  });
});
