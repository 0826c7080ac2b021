import { backoff } from "./backoff.js";
import { Calls } from "./calls.js";
import { Pace } from "./pace.js";
import { OWN_ROOM, isRoomName, sentence } from "./protocol.js";
import type { ClientMessage, ErrorCode, ErrorMessage, Message, ServerMessage } from "./protocol.js";
import { RoomSession, type Host } from "./room.js";
import type { Member } from "./types.js";

const BAD_NAME =
  "A room's name is 1 to 64 letters (A to Z), digits, dots, colons, hyphens and underscores.";
// After these errors, the client tries again to enter a room.
const KEEPS_TRYING: Partial<Record<ErrorCode, string>> = {
  unavailable: "The room can't be entered at the moment. This page keeps trying.",
  internal: "Something went wrong in the server. This page keeps trying.",
};
const INTERNAL = "Something went wrong in the server. Try again in a moment.";
// How long (milliseconds) to send nothing when the server says that it was too much.
const PAUSE = 1_500;
// What the server says when too much history was asked for.
const TRY_AGAIN = /try again in (\d+) s$/;
// How many of the user's ids are remembered.
const IDS = 100;

export interface RoomsListeners {
  send: (message: ClientMessage) => void;
  /** The server does not acknowledge a message in time. */
  onSilence: () => void;
  /** The user, the rooms, or the number of unsent messages have changed. */
  onChange: () => void;
}

/**
 * The rooms this client is in, and its calls. What the server says about a room goes to that
 * room. What they have to send goes to the server, no faster than the server takes it.
 */
export class Rooms {
  user: Member | null = null;
  readonly calls = new Calls();
  #all: ReadonlyMap<string, RoomSession> = new Map();
  // The room on display. It comes first.
  #focused = "";
  // Names of rooms to leave.
  readonly #leaving = new Set<string>();
  // The user's ids: some styles give each connection another one.
  readonly #ids = new Set<string>();
  readonly #pace: Pace;
  readonly #host: Host;
  readonly #onChange: () => void;
  #isOpen = false;
  #isPinged = false;

  constructor({ send, onSilence, onChange }: RoomsListeners) {
    this.#pace = new Pace(() => this.#next(), send);
    this.#onChange = onChange;
    const user = (): Member => this.user ?? { id: "", name: "" };
    this.#host = {
      get user() {
        return user();
      },
      wake: () => {
        this.wake();
      },
      onSilence,
      onUnsent: onChange,
    };
  }

  get all(): ReadonlyMap<string, RoomSession> {
    return this.#all;
  }

  /** How many own messages the server has not acknowledged. */
  get unsent(): number {
    return [...this.#all.values()].reduce((sum, room) => sum + room.unsent, 0);
  }

  /** Throws RangeError if this is not the name of a room. */
  enter(name: string): RoomSession {
    if (name !== OWN_ROOM && !isRoomName(name)) throw new RangeError(BAD_NAME);
    let room = this.#all.get(name);
    if (room === undefined) {
      room = new RoomSession(name, this.#host);
      this.#all = new Map(this.#all).set(name, room);
      this.#leaving.delete(name);
      this.#onChange();
      this.wake();
    }
    return room;
  }

  leave(name: string): void {
    const room = this.#all.get(name);
    if (room === undefined) return;
    const others = new Map(this.#all);
    others.delete(name);
    this.#all = others;
    // The server refuses a `leave` from outside the room.
    const isInside = room.state !== "refused" && room.state !== "evicted";
    if (this.#isOpen && isInside) this.#leaving.add(name);
    room.disconnected();
    room.blur();
    this.#onChange();
    this.wake();
  }

  focus(name: string): void {
    if (name === this.#focused) return;
    this.#all.get(this.#focused)?.blur();
    this.#focused = name;
  }

  /** There may be something to send. */
  wake(): void {
    this.#pace.wake();
  }

  /** The connection is gone. */
  disconnected(): void {
    this.#isOpen = false;
    this.#pace.stop();
    this.#leaving.clear();
    this.calls.disconnected();
    for (const room of this.#all.values()) room.disconnected();
  }

  /** The connection ended because of an own message, which would end the next one too. */
  tooBig(): void {
    for (const room of this.#all.values()) room.tooBig();
  }

  /** Handle a message of the server. */
  receive(message: ServerMessage): void {
    switch (message.type) {
      case "welcome":
        this.#welcome(message.user);
        break;
      case "pong":
        this.#pong();
        break;
      case "result":
        this.calls.result(message);
        break;
      case "error":
        this.#error(message);
        break;
      case "left":
        this.#left(message.room, message.reason);
        break;
      case "joined":
        this.#all.get(message.room)?.joined(message);
        break;
      case "message":
        this.#all.get(message.room)?.message(message, this.#isOwn(message));
        break;
      case "signal":
        if (!this.#isOwn(message)) this.#all.get(message.room)?.received(message);
        break;
      case "history":
        this.#all.get(message.room)?.history(message, (each) => this.#isOwn(each));
        break;
      case "presence":
        this.#all.get(message.room)?.presence(message);
        break;
      case "resync":
        this.#all.get(message.room)?.resync();
    }
    this.wake();
  }

  #isOwn({ sender }: Pick<Message, "sender">): boolean {
    return sender !== undefined && this.#ids.has(sender.id);
  }

  /** The next message to send, or null. The room on display comes first. */
  #next(): ClientMessage | null {
    for (const name of this.#leaving) {
      this.#leaving.delete(name);
      return { type: "leave", room: name };
    }
    const call = this.calls.next();
    if (call !== null) return call;
    const focused = this.#all.get(this.#focused);
    const rooms = focused ? [focused, ...this.#all.values()] : [...this.#all.values()];
    for (const room of rooms) {
      const message = room.next();
      if (message !== null) return message;
    }
    if (this.#isPinged || !rooms.some((room) => room.state === "replaying")) return null;
    this.#isPinged = true;
    return { type: "ping" };
  }

  #welcome(user: Member): void {
    this.user = user;
    this.#ids.add(user.id);
    for (const id of this.#ids) {
      if (this.#ids.size > IDS) this.#ids.delete(id);
    }
    this.#isOpen = true;
    this.#isPinged = false;
    this.#onChange();
    this.#pace.start();
  }

  /** The server answers in order, so the replays of the rooms joined before are complete. */
  #pong(): void {
    this.#isPinged = false;
    for (const room of this.#all.values()) room.replayed();
  }

  #left(name: string, reason = ""): void {
    if (reason === "evicted") this.#all.get(name)?.evicted();
    // There may be space now for a room that was one too many.
    for (const room of this.#all.values()) room.tryAgain();
  }

  #error(error: ErrorMessage): void {
    const { code, detail, room: name, ref } = error;
    if (code === "rate_limited" && TRY_AGAIN.exec(detail) === null) this.#pace.pause(PAUSE);
    if (name !== undefined) this.#errorInRoom(name, error);
    else if (ref !== undefined) this.calls.error(error);
    // A ping was too much: ask again later.
    else if (code === "rate_limited") this.#isPinged = false;
  }

  #errorInRoom(name: string, { code, detail, ref }: ErrorMessage): void {
    const room = this.#all.get(name);
    const seconds = Number(TRY_AGAIN.exec(detail)?.[1] ?? 0);
    if (room === undefined) {
      // The server did not hear that the user left.
      if (code === "rate_limited" && ref === undefined) this.#leaving.add(name);
    } else if (ref !== undefined) {
      if (code === "rate_limited") room.unheard(ref);
      else room.rejected(ref, code, code === "internal" ? INTERNAL : sentence(detail));
    } else if (code === "rate_limited" && seconds === 0) room.unheard(ref);
    else if (room.state !== "joining") room.failed(code, seconds);
    else if (code === "rate_limited") room.postponed(tooMuch(seconds), seconds * 1000);
    else {
      const isFinal = code === "forbidden" || code === "refused";
      room.refused(KEEPS_TRYING[code] ?? sentence(detail), isFinal);
      if (code in KEEPS_TRYING) room.tryAfter(backoff(room.refusals));
    }
  }
}

function tooMuch(seconds: number): string {
  const time = seconds === 1 ? "1 second" : `${seconds} seconds`;
  return `The server does not send so much at once. This page tries again by itself in ${time}.`;
}
