import { afterEach, beforeEach, expect, vi } from "vitest";
import type { Client, Room } from "./index.js";
import { ADA, ScriptedServer, connecting, type Chat } from "./testing.js";

export const JOIN = { type: "join", room: "lobby" };

export let server: ScriptedServer;
export let client: Client<Chat>;
export let room: Room<Chat>;

/** Begin each test of a file with a connected client that asks to enter an empty room. */
export function inLobby(): void {
  beforeEach(async () => {
    vi.useFakeTimers();
    vi.spyOn(Math, "random").mockReturnValue(0.5);
    server = new ScriptedServer();
    client = await connecting();
    room = client.enter("lobby");
    server.accept(ADA, 0);
  });

  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
    vi.unstubAllGlobals();
  });
}

export function since(offset: number): object {
  return { ...JOIN, since: { epoch: "e1", offset } };
}

export function publish(text: string): string {
  return room.publish("chat.message", { text });
}

/** The state of an entry, and why it has that. */
export function state(index: number): string {
  const entry = room.entries.at(index);
  return entry?.kind === "message" ? `${entry.state} ${entry.reason}`.trim() : "none";
}

/** Lose the connection, and have another one. */
export async function reconnect(user = ADA): Promise<void> {
  server.close(1006);
  await vi.advanceTimersByTimeAsync(30_000);
  server.accept(user, 0);
}

/** Enter an empty room. */
export function enter(): void {
  expect(server.heard()).toEqual([JOIN]);
  server.joined(0);
  expect(room.state).toBe("inside");
}
