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
import { ADA, texts } from "./testing.js";

inLobby();

describe("an own message", () => {
  it("is shown at once, and acknowledged by the message itself", () => {
    enter();
    const id = publish("hello");
    expect(server.heard()).toEqual([
      { type: "publish", room: "lobby", id, event: "chat.message", data: { text: "hello" } },
    ]);
    const [pending] = room.entries;
    expect(pending).toMatchObject({ state: "pending", offset: null, own: true, sender: ADA });
    expect([room.unsent, client.unsent]).toEqual([1, 1]);
    server.message(1, "hello", { id, sender: ADA });
    const [sent] = room.entries;
    expect(sent).toMatchObject({ key: pending?.key, state: "sent", offset: 1, own: true });
    expect(sent).not.toBe(pending);
    expect([room.unsent, client.unsent]).toEqual([0, 0]);
  });

  it("is sent after the replay, unless that has it", async () => {
    enter();
    const [taken, lost] = [publish("taken"), publish("not taken")];
    await reconnect({ id: "another id", name: "ada" });
    server.heard();
    server.joined(2, { recovered: true });
    server.message(1, "one");
    server.message(2, "taken", { id: taken, sender: ADA });
    expect(server.heard()).toMatchObject([{ type: "publish", id: lost }]);
    server.message(3, "not taken", { id: lost, sender: { id: "another id", name: "ada" } });
    expect(texts(room.entries)).toEqual(["one", "taken", "not taken"]);
    expect(server.heard()).toEqual([]);
    expect(room.unsent).toBe(0);
  });

  it("whose acknowledgement was lost counts as sent when the server knows its id", async () => {
    enter();
    const id = publish("taken");
    await reconnect();
    server.heard();
    server.joined(0, { recovered: true });
    expect(server.heard()).toMatchObject([{ type: "publish", id }]);
    server.error("invalid", id);
    expect(state(0)).toBe("sent");
    server.message(1, "taken", { id, sender: ADA });
    server.message(2, "two");
    expect(texts(room.entries)).toEqual(["taken", "two"]);
  });

  it("that the room had already has its own place", async () => {
    enter();
    const id = publish("first");
    server.message(2, "second");
    server.message(1, "first", { id, sender: ADA });
    expect(texts(room.entries)).toEqual(["first", "second"]);
    await reconnect();
    expect(server.heard()).toEqual([since(2)]);
  });

  it.each([
    ["forbidden", "you may not publish here", "You may not publish here."],
    ["refused", "Not on Sundays!", "Not on Sundays!"],
    ["internal", "a traceback", "Something went wrong in the server. Try again in a moment."],
  ])("that the server refuses (%s) is kept, with the reason", (code, detail, words) => {
    enter();
    const id = publish("may I?");
    const [message] = server.heard();
    server.error(code, id, detail);
    expect(state(0)).toBe(`failed ${words}`);
    room.retry(room.entries[0]?.key ?? "");
    expect(server.heard()).toEqual([message]);
    server.error(code, id, detail);
    room.discard(room.entries[0]?.key ?? "");
    expect(room.entries).toEqual([]);
  });

  it("does not wait in a room that the user may not enter", () => {
    publish("early");
    server.heard();
    server.error("forbidden");
    publish("late");
    expect([state(1), state(2)]).toEqual(["failed It is forbidden.", "failed It is forbidden."]);
    room.retry(room.entries[1]?.key ?? "");
    expect(server.heard()).toEqual([JOIN]);
    server.joined(0);
    expect(server.heard()).toMatchObject([{ data: { text: "early" } }]);
  });

  it("that is not confirmed fails in the end", async () => {
    enter();
    const id = publish("is anybody there?");
    server.heard();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(server.frames()).toEqual([{ type: "ping" }]);
    server.says({ type: "pong" });
    await vi.advanceTimersByTimeAsync(15_000);
    expect(state(0)).toBe("failed The server did not confirm this message.");
    server.message(1, "is anybody there?", { id, sender: ADA });
    expect(state(0)).toBe("sent");
  });

  it("that is too big is given back", async () => {
    enter();
    publish("big");
    server.close(1009);
    expect(state(0)).toMatch(/^failed .* too big for the server.$/);
    publish("written meanwhile");
    await vi.advanceTimersByTimeAsync(1_000);
    server.accept();
    server.heard();
    server.joined(0, { recovered: true });
    expect(server.heard()).toMatchObject([{ data: { text: "written meanwhile" } }]);
  });

  it("above the rate limit is sent again, in its order", async () => {
    enter();
    const ids = ["one", "two", "three"].map(publish);
    server.heard();
    server.error("rate_limited", ids[1]);
    server.error("rate_limited", ids[2]);
    server.message(1, "one", { id: ids[0] ?? "", sender: ADA });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(server.heard()).toEqual([]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(server.heard()).toMatchObject([{ id: ids[1] }, { id: ids[2] }]);
  });

  it("is one of 1,000 that may wait", () => {
    for (let number = 0; number < 1_000; number += 1) publish(`${number}`);
    expect(() => publish("one more")).toThrow(RangeError);
    expect(client.unsent).toBe(1_000);
  });

  it("is sent no faster than the server takes it", async () => {
    enter();
    for (let number = 0; number < 100; number += 1) publish(`${number}`);
    expect(server.heard().length).toBeLessThanOrEqual(15);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(server.heard().length).toBeLessThanOrEqual(31);
  });
});
