// A server for tests, which says what a test tells it to say.

import { vi } from "vitest";
import { Client } from "./client.js";
import type { ClientMessage, Message, ServerMessage } from "./protocol.js";
import type { ClientOptions, Credentials, Entry, Member } from "./types.js";

export const ADA: Member = { id: "id-of-ada", name: "ada" };
export const BOB: Member = { id: "id-of-bob", name: "bob" };

/** The events of the application in these tests. */
export interface Chat {
  events: { "chat.message": { text: string } };
  publishes: { "chat.message": { text: string } };
  signals: { "chat.typing": object; cursor: { x: number } };
  sends: { "chat.typing": object; cursor: { x: number } };
  calls: {
    double: { data: { number: number }; result: { event: "doubled"; data: { number: number } } };
  };
}

export const URL_OF_SERVER = "ws://server.test/ws";

export const credentials: Credentials = {
  handshake: () => Promise.resolve({}),
  check: () => Promise.resolve(true),
};

/** In the place of the browser's WebSocket. */
export class FakeSocket {
  static all: FakeSocket[] = [];

  readonly url: string;
  readonly protocols: string[];
  readonly sent: string[] = [];
  isClosed = false;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;

  constructor(url: string | URL, protocols: string[]) {
    this.url = String(url);
    this.protocols = protocols;
    FakeSocket.all.push(this);
  }

  send(frame: string): void {
    if (this.isClosed) throw new Error("The socket is closed.");
    this.sent.push(frame);
  }

  close(): void {
    this.isClosed = true;
  }
}

/** The server's end of the newest socket. */
export class ScriptedServer {
  constructor() {
    FakeSocket.all = [];
    vi.stubGlobal("WebSocket", FakeSocket);
  }

  get socket(): FakeSocket {
    const socket = FakeSocket.all.at(-1);
    if (socket === undefined) throw new Error("The client has not connected.");
    return socket;
  }

  /** How often the client has connected. */
  get connections(): number {
    return FakeSocket.all.length;
  }

  /** All that the client has sent since the last call, except for pings. */
  heard(): ClientMessage[] {
    return this.frames().filter(({ type }) => type !== "ping");
  }

  /** All that the client has sent since the last call. */
  frames(): ClientMessage[] {
    return this.socket.sent.splice(0).map((frame) => JSON.parse(frame) as ClientMessage);
  }

  says(message: ServerMessage): void {
    this.saysFrame(JSON.stringify(message));
  }

  saysFrame(data: unknown): void {
    this.socket.onmessage?.({ data });
  }

  accept(user = ADA, heartbeat = 20): void {
    this.socket.onopen?.();
    this.says({ type: "welcome", connection: "c", user, heartbeat });
  }

  joined(offset: number, { room = "lobby", recovered = false, epoch = "e1" } = {}): void {
    const members = [ADA, BOB];
    this.says({ type: "joined", room, epoch, offset, recovered, count: 2, members });
  }

  message(offset: number, text: string, { id = text, sender = BOB, room = "lobby" } = {}): void {
    this.says(messageOf(offset, text, { id, sender, room }));
  }

  error(
    code: string,
    ref?: string,
    detail = "it is forbidden",
    room: string | null = "lobby",
  ): void {
    const message = { type: "error", code, detail, ...(room && { room }), ...(ref && { ref }) };
    this.saysFrame(JSON.stringify(message));
  }

  /** The connection ends: the server closes it, or it is lost. */
  close(code: number, reason = ""): void {
    const { socket } = this;
    socket.isClosed = true;
    socket.onclose?.({ code, reason });
  }
}

export function messageOf(
  offset: number,
  text: string,
  { id = text, sender = BOB, room = "lobby" } = {},
): Message {
  const sent_at = "2026-01-01T12:00:00Z";
  return {
    type: "message",
    room,
    id,
    offset,
    event: "chat.message",
    data: { text },
    sender,
    sent_at,
  };
}

/** A client that has begun to connect. */
export async function connecting(
  options: ClientOptions = {},
  as = credentials,
): Promise<Client<Chat>> {
  const client = new Client<Chat>(as, { url: URL_OF_SERVER, ...options });
  void client.connect();
  await settle();
  return client;
}

/** Let promises settle. No time passes. */
export async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

/** What a room shows: the texts of its messages and notices. */
export function texts(entries: readonly Entry[]): string[] {
  return entries.map((entry) =>
    entry.kind === "notice" ? entry.text : (entry.data as { text: string }).text,
  );
}
