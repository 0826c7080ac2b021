import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { MisbehavingServer, problemWith, randomFrom } from "./model.testing.js";
import { ScriptedServer, connecting, type Chat } from "./testing.js";
import type { Client, MessageEntry, Room } from "./index.js";

const SEEDS = 60;
const STEPS = 120;
const ROOMS = ["one", "two"];

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

/**
 * What the user does, and what happens on the server. Returns the ids of the messages that the
 * user has written.
 */
function act(server: MisbehavingServer, client: Client<Chat>, room: Room<Chat>): string[] {
  const remote = server.rooms.get(room.name);
  if (remote === undefined) throw new Error("There is no such room.");
  const failed = room.entries.filter(
    (entry) => entry.kind === "message" && entry.state === "failed",
  );
  if (server.chance(0.5)) server.publish(remote);
  if (server.chance(0.1)) void room.loadEarlier();
  if (server.chance(0.1)) client.focus(room.name);
  if (server.chance(0.01)) server.loseHistory(remote);
  if (server.chance(0.2) && failed.length > 0) room.retry(server.pick(failed).key);
  // The user connects again after a close code that is final.
  if (["closed", "expired"].includes(client.status.state)) void client.connect();
  return server.chance(0.2) ? [room.publish("chat.message", { text: "mine" })] : [];
}

it.each(Array.from({ length: SEEDS }, (_, seed) => seed))(
  "nothing is lost, doubled or reordered, whatever the server does (seed %i)",
  async (seed) => {
    const random = randomFrom(seed);
    vi.spyOn(Math, "random").mockImplementation(random);
    new ScriptedServer();
    const server = new MisbehavingServer(random, 1, ROOMS);
    const client = await connecting();
    const heard: MessageEntry<Chat>[] = [];
    const rooms = ROOMS.map((name) => client.enter(name));
    for (const room of rooms) room.onMessage((entry) => heard.push(entry));
    const published = new Map(ROOMS.map((name) => [name, [] as string[]]));
    for (let step = 0; step < STEPS; step += 1) {
      const room = server.pick(rooms);
      published.get(room.name)?.push(...act(server, client, room));
      server.work();
      await vi.advanceTimersByTimeAsync(server.pick([0, 10, 100, 1_000, 5_000]));
    }
    // From now on the server behaves.
    server.faults = 0;
    for (let second = 0; second < 120; second += 1) {
      if (["closed", "expired"].includes(client.status.state)) void client.connect();
      server.work();
      await vi.advanceTimersByTimeAsync(1_000);
    }
    expect(client.status.state).toBe("open");
    for (const room of rooms) {
      const remote = server.rooms.get(room.name);
      expect(remote && problemWith(remote, room.entries, published.get(room.name) ?? [])).toBe("");
      expect(room.isLoading).toBe(false);
    }
    expect(client.unsent).toBe(rooms.reduce((sum, room) => sum + room.unsent, 0));
    const ids = heard.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    client.close();
  },
);
