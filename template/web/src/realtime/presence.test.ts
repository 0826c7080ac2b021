import { describe, expect, it, vi } from "vitest";
import { enter, inLobby, publish, reconnect, room, server } from "./lobby.testing.js";
import { ADA, BOB } from "./testing.js";

inLobby();

describe("a signal", () => {
  it("is sent inside the room, the newest of each event", () => {
    room.signal("cursor", { x: 0 });
    enter();
    for (let number = 0; number < 20; number += 1) publish(`${number}`);
    room.signal("cursor", { x: 1 });
    room.signal("cursor", { x: 2 });
    room.signal("chat.typing", {});
    const ids = server.heard();
    expect(ids.every(({ type }) => type === "publish")).toBe(true);
    vi.advanceTimersByTime(1_000);
    expect(server.heard().filter(({ type }) => type === "signal")).toEqual([
      { type: "signal", room: "lobby", event: "cursor", data: { x: 2 } },
      { type: "signal", room: "lobby", event: "chat.typing", data: {} },
    ]);
  });

  it("of others is heard, and not that of another tab", () => {
    enter();
    const heard: unknown[] = [];
    room.onSignal((signal) => heard.push(signal));
    const signal = { type: "signal", room: "lobby", event: "chat.typing", data: {} } as const;
    server.says({ ...signal, sender: ADA });
    server.says({ ...signal, sender: BOB });
    server.says(signal);
    expect(heard).toEqual([
      { event: "chat.typing", data: {}, sender: BOB },
      { event: "chat.typing", data: {}, sender: null },
    ]);
  });

  it.each(["invalid", "forbidden", "refused"])(
    "that the server does not take (%s) is sent no more",
    async (code) => {
      enter();
      room.signal("cursor", { x: 1 });
      expect(server.heard()).toHaveLength(1);
      server.error(code);
      room.signal("cursor", { x: 2 });
      room.signal("chat.typing", {});
      expect(server.heard()).toMatchObject([{ event: "chat.typing" }]);
      expect(room.entries).toEqual([]);
      await reconnect();
      server.heard();
      server.joined(0, { recovered: true });
      room.signal("cursor", { x: 3 });
      expect(server.heard()).toMatchObject([{ event: "cursor" }]);
    },
  );

  it("is not the reason to stay outside", () => {
    enter();
    room.signal("chat.typing", {});
    server.says({ type: "resync", room: "lobby", epoch: "e1", offset: 7 });
    server.heard();
    server.error("forbidden");
    server.joined(0, { recovered: true });
    expect(room.state).toBe("inside");
  });
});

describe("the members", () => {
  it("come and go, one or several", () => {
    enter();
    const [carol, dan] = [
      { id: "c", name: "carol" },
      { id: "d", name: "dan" },
    ];
    const before = room.members;
    server.says({ type: "presence", room: "lobby", event: "join", users: [BOB, carol, dan] });
    expect([...(room.members?.keys() ?? [])]).toEqual([ADA.id, BOB.id, "c", "d"]);
    expect(room.members).not.toBe(before);
    server.says({ type: "presence", room: "lobby", event: "leave", user: BOB });
    server.says({ type: "presence", room: "lobby", event: "leave", user: BOB });
    expect(room.memberCount).toBe(3);
  });

  it("of a large room are a number, until it is small again", () => {
    enter();
    server.says({ type: "presence", room: "lobby", count: 5_000 });
    expect([room.members, room.memberCount]).toEqual([null, 5_000]);
    server.says({ type: "presence", room: "lobby", event: "leave", user: BOB });
    expect(room.memberCount).toBe(4_999);
    server.says({ type: "presence", room: "lobby", count: 2, members: [ADA, BOB] });
    expect(room.members?.size).toBe(2);
  });

  it("are a list of at most 10,000", () => {
    enter();
    for (let number = 0; number <= 100; number += 1) {
      const users = Array.from({ length: 100 }, (_, index) => ({
        id: `${number}-${index}`,
        name: "one of many",
      }));
      server.says({ type: "presence", room: "lobby", event: "join", users });
    }
    expect([room.members, room.memberCount]).toEqual([null, 10_102]);
  });
});
