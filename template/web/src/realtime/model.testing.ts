// A server that misbehaves in random ways, and what must be true of a client all the same.

import type { ClientMessage, Message, ServerMessage } from "./protocol.js";
import { ADA, BOB, FakeSocket } from "./testing.js";
import type { Entry } from "./types.js";

/** Random numbers that are the same for the same seed (Tommy Ettinger's Mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const MISSED = "Messages may be missing here.";
const CLOSE_CODES = [1000, 1001, 1005, 1006, 1008, 1009, 1011, 1012, 1013, 4000, 4401, 4403, 4999];
const GARBAGE = ["", "{", "null", "[1]", '{"type":"news"}', '{"type":"message","room":"?"}'];
// How many messages the server remembers, and how many of them a new member gets.
const REMEMBERED = 30;
const RECENT = 10;

interface Published {
  epoch: string;
  message: Message;
}

/** A room on the server. */
class ServerRoom {
  readonly name: string;
  epoch = 1;
  offset = 0;
  /** All that was ever published. */
  readonly all: Published[] = [];
  isMember = false;
  /** How often the server could not send what the client has missed. */
  losses = 0;

  constructor(name: string) {
    this.name = name;
  }

  get position(): { epoch: string; offset: number } {
    return { epoch: `e${this.epoch}`, offset: this.offset };
  }

  /** What the server remembers. */
  get history(): Message[] {
    return this.current.slice(-REMEMBERED);
  }

  /** What was published in this epoch. */
  get current(): Message[] {
    const { epoch } = this.position;
    return this.all.filter((it) => it.epoch === epoch).map(({ message }) => message);
  }
}

/** One server, to which one client connects. `faults` is how often something goes wrong. */
export class MisbehavingServer {
  readonly rooms = new Map<string, ServerRoom>();
  faults: number;
  readonly #random: () => number;
  readonly #served = new Set<FakeSocket>();
  // What waits to be read by the client: frames, some of which arrive in the same moment.
  #queue: string[][] = [];
  #socket: FakeSocket | null = null;
  #isSilent = false;
  #published = 0;

  constructor(random: () => number, faults: number, rooms: string[]) {
    this.#random = random;
    this.faults = faults;
    for (const name of rooms) this.rooms.set(name, new ServerRoom(name));
  }

  chance(probability: number): boolean {
    return this.#random() < probability;
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[Math.floor(this.#random() * items.length)];
    if (item === undefined) throw new Error("There is nothing to pick.");
    return item;
  }

  /** Read what the client has sent, and have it read some of the answers. */
  work(): void {
    this.#accept();
    const socket = this.#socket;
    if (socket === null || socket.isClosed) return;
    for (const frame of socket.sent.splice(0)) this.#receive(JSON.parse(frame) as ClientMessage);
    const count = this.#isFaulty(0.5) ? Math.floor(this.#random() * 4) : Infinity;
    for (let number = 0; number < count && this.#queue.length > 0; number += 1) this.#deliver();
    if (this.#isFaulty(0.06)) this.#close();
    if (this.#isFaulty(0.02)) this.#isSilent = true;
  }

  /** Somebody else publishes. */
  publish(room: ServerRoom): void {
    this.#published += 1;
    this.#add(room, `message ${this.#published}`, { text: "hello" }, BOB);
  }

  /** The server loses the history of a room. */
  loseHistory(room: ServerRoom): void {
    room.epoch += 1;
    room.offset = 0;
    if (!room.isMember) return;
    room.isMember = false;
    this.#say({ type: "resync", room: room.name, ...room.position });
  }

  #isFaulty(probability: number): boolean {
    return this.chance(probability * this.faults);
  }

  #accept(): void {
    const socket = FakeSocket.all.at(-1);
    if (socket === undefined || this.#served.has(socket)) return;
    this.#served.add(socket);
    this.#socket = socket;
    this.#queue = [];
    this.#isSilent = this.#isFaulty(0.1);
    for (const room of this.rooms.values()) room.isMember = false;
    if (this.#isFaulty(0.1)) this.#close();
    else this.#say({ type: "welcome", connection: "c", user: ADA, heartbeat: 20 });
  }

  #receive(message: ClientMessage): void {
    if (message.type === "ping") {
      this.#say({ type: "pong" });
      return;
    }
    const room = "room" in message ? this.rooms.get(message.room) : undefined;
    if (room === undefined) return;
    const ref = "id" in message ? { ref: message.id } : {};
    const isRefused = this.#isFaulty(0.05);
    if (isRefused) {
      const code = this.pick(["rate_limited", "unavailable", "internal"] as const);
      this.#say({ type: "error", code, detail: "not now", room: room.name, ...ref });
    }
    // `unavailable` does not say whether the message was published.
    if (isRefused && !(message.type === "publish" && this.chance(0.3))) return;
    if (message.type === "join") this.#join(room, message.since);
    else if (message.type === "publish") this.#publishOf(room, message);
    else if (message.type === "history") this.#history(room, message.before, message.limit);
  }

  #join(room: ServerRoom, since?: { epoch: string; offset: number }): void {
    const { history, position } = room;
    const missed = history.filter(({ offset }) => offset > (since?.offset ?? 0));
    const isKnown =
      since?.epoch === position.epoch &&
      (since.offset === position.offset || history.some(({ offset }) => offset === since.offset));
    const isLost = !isKnown || this.#isFaulty(0.1);
    const recovered = since !== undefined && (!isLost || since.epoch !== position.epoch) && isKnown;
    room.isMember = true;
    const joined = { type: "joined", room: room.name, ...position, count: 1 } as const;
    this.#say({ ...joined, recovered: recovered || this.#claimsToKnow(since, position.epoch) });
    if (since === undefined) for (const message of history.slice(-RECENT)) this.#say(message);
    else if (recovered) for (const message of missed) this.#say(message);
    // Nothing follows but live messages. The client joins again.
    else room.losses += 1;
  }

  /** A wrong `recovered`, for another epoch. */
  #claimsToKnow(since: { epoch: string } | undefined, epoch: string): boolean {
    return since !== undefined && since.epoch !== epoch && this.#isFaulty(0.3);
  }

  #publishOf(room: ServerRoom, message: ClientMessage & { type: "publish" }): void {
    const known = room.current.find(({ id }) => id === message.id);
    if (known === undefined) this.#add(room, message.id, message.data, ADA);
    else this.#say(known);
  }

  #history(room: ServerRoom, before: number, limit: number): void {
    const older = room.history.filter(({ offset }) => offset < before);
    const { epoch } = room.position;
    const messages = older.slice(-limit);
    const complete = messages.length === older.length;
    this.#say({ type: "history", room: room.name, epoch, messages, complete });
  }

  #add(room: ServerRoom, id: string, data: unknown, sender: { id: string; name: string }): void {
    room.offset += this.pick([1, 1, 1, 2, 5]);
    const { offset, name } = room;
    const sent_at = "2026-01-01T12:00:00Z";
    const fields = { room: name, id, offset, event: "chat.message", data, sender, sent_at };
    const message: Message = { type: "message", ...fields };
    room.all.push({ epoch: room.position.epoch, message });
    if (room.isMember) this.#live(room, message);
  }

  /** Send a live message: once, twice, in the wrong order, or not at all. */
  #live(room: ServerRoom, message: Message): void {
    if (this.#isFaulty(0.08)) {
      // It is lost. The server says so. It may send more until the client joins again.
      room.isMember = this.chance(0.5);
      this.#say({ type: "resync", room: room.name, ...room.position });
      return;
    }
    this.#say(message);
    if (this.#isFaulty(0.1)) this.#say(message);
    if (this.#isFaulty(0.1)) this.#say(this.pick(room.history));
    if (this.#isFaulty(0.1)) this.#swap();
    if (this.#isFaulty(0.05)) this.#queue.push([this.pick(GARBAGE)]);
  }

  /** The last two messages arrive in the wrong order, if both are live ones. */
  #swap(): void {
    const [one = [], other = []] = this.#queue.slice(-2);
    const areMessages = [...one, ...other].every((it) => it.startsWith('{"type":"message"'));
    if (areMessages) this.#queue.splice(-2, 2, [...other, ...one]);
  }

  #say(message: ServerMessage): void {
    this.#queue.push([JSON.stringify(message)]);
  }

  #deliver(): void {
    for (const data of this.#queue.shift() ?? []) {
      if (!this.#isSilent) this.#socket?.onmessage?.({ data });
    }
  }

  /** Close the socket, with what waits in either direction. */
  #close(): void {
    const code = this.pick(CLOSE_CODES);
    const socket = this.#socket;
    this.#socket = null;
    if (socket === null || socket.isClosed) return;
    socket.isClosed = true;
    socket.sent.length = 0;
    socket.onclose?.({ code, reason: "" });
  }
}

function isGap(entry: Entry): boolean {
  return entry.kind === "notice" && entry.text.includes(MISSED);
}

/**
 * What is wrong with the log of a room, or "". Between two messages without a notice that
 * some may be missing, there is no other one on the server. `published` are the ids of the
 * user's own messages: each was sent, or is here with the reason why not.
 */
export function problemWith(
  room: ServerRoom,
  entries: readonly Entry[],
  published: readonly string[],
): string {
  const order = new Map(room.all.map(({ message }, index) => [message.id, index]));
  const keys = new Set(entries.map(({ key }) => key));
  if (keys.size < entries.length) return "an entry is there twice";
  const here = new Set(entries.map((entry) => (entry.kind === "message" ? entry.id : "")));
  const vanished = published.find((id) => !order.has(id) && !here.has(id));
  if (vanished !== undefined) return `${vanished} was neither sent nor given back`;
  if (entries.filter(isGap).length > room.losses) return "nothing was missing";
  let last: number | null = null;
  let mayMiss = false;
  for (const entry of entries) {
    if (entry.kind === "notice") {
      mayMiss ||= isGap(entry);
      continue;
    }
    const index = order.get(entry.id);
    if (entry.state === "pending") return `${entry.id} still waits`;
    if (entry.state === "failed") {
      if (entry.reason === "") return `${entry.id} failed without a reason`;
      continue;
    }
    if (index === undefined) return `${entry.id} counts as sent, and is not there`;
    if (last !== null && index <= last) return `${entry.id} is not in its place`;
    if (last !== null && index > last + 1 && !mayMiss)
      return `a message is lost before ${entry.id}`;
    last = index;
    mayMiss = false;
  }
  const isUpToDate = mayMiss || room.all.length === 0 || last === room.all.length - 1;
  return isUpToDate ? "" : "the last message is lost";
}
