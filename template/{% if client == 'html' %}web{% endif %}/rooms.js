import { backoff } from "./backoff.js";
import { Pace } from "./pace.js";
import { Room } from "./room.js";

// The room `@me` is not one of those that people enter.
const ROOM_NAME = /^[A-Za-z0-9_.:-]{1,64}$/;
// After these errors, the page tries again to enter a room.
const KEEPS_TRYING = {
  unavailable: "The room can't be entered at the moment. This page keeps trying.",
  internal: "Something went wrong in the server. This page keeps trying.",
};
const INTERNAL = "Something went wrong in the server. Try again in a moment.";
// How long (milliseconds) to send nothing when the server says that it was too much.
const PAUSE = 1_500;
// What the server says when too much history was asked for.
const TRY_AGAIN = /try again in (\d+) s$/;

export function isRoomName(name) {
  return ROOM_NAME.test(name);
}

/**
 * The rooms this page is in. What the server says about a room goes to that room. What the
 * rooms have to send goes to the server, no faster than the server takes it.
 *
 * The callbacks are those of `Room`.
 */
export class Rooms {
  // { id, name }; as long as the server has not said who this is, both are empty.
  user = { id: "", name: "" };
  // The room on display.
  current = null;
  #rooms = new Map();
  // Names of rooms to leave.
  #leaving = new Set();
  // The user's ids: some styles give each connection another one.
  #ids = new Set();
  // Whether the server takes signals, and the rooms where it takes none from this user.
  #takesSignals = true;
  #silentRooms = new Set();
  #pace;
  #isPinged = false;
  #callbacks;

  constructor(send, callbacks) {
    this.#pace = new Pace(() => this.#next(), send);
    this.#callbacks = callbacks;
  }

  [Symbol.iterator]() {
    return this.#rooms.values();
  }

  /** How many own messages the server has not acknowledged. */
  get unsent() {
    return [...this].reduce((sum, room) => sum + room.pending.size, 0);
  }

  get(name) {
    return this.#rooms.get(name);
  }

  enter(name) {
    let room = this.#rooms.get(name);
    if (room === undefined) {
      room = new Room(name, this.#callbacks);
      this.#rooms.set(name, room);
      this.#leaving.delete(name);
      this.#pace.wake();
    }
    return room;
  }

  leave(room) {
    this.#rooms.delete(room.name);
    // The server refuses a `leave` from outside the room.
    if (room.state !== "refused" && room.state !== "evicted") this.#leaving.add(room.name);
    this.#pace.wake();
  }

  publish(room, text) {
    room.publish(newId(), this.user, text);
    this.#pace.wake();
  }

  retry(room, entry) {
    room.retry(entry);
    this.#pace.wake();
  }

  /** The user changed the text for a room. */
  typed(room, text) {
    const isHeard = this.#takesSignals && !this.#silentRooms.has(room.name);
    room.typing.changed(isHeard && room.state === "inside" && text.trim() !== "");
    this.#pace.wake();
  }

  /** The connection is gone. */
  disconnected() {
    this.#pace.stop();
    for (const room of this) room.disconnected();
  }

  /** The connection ended because of an own message, which would end the next one too. */
  tooBig() {
    for (const room of this) room.tooBig();
  }

  /** Handle a message of the server. */
  receive(message) {
    const room = this.#rooms.get(message.room);
    const own = this.#ids.has(message.sender?.id);
    if (message.type === "welcome") this.#welcome(message);
    else if (message.type === "pong") this.#pong();
    else if (message.type === "error") this.#error(room, message);
    else if (message.type === "left") this.#left(room, message);
    else if (message.type === "joined") room?.joined(message);
    else if (message.type === "message") room?.message(message, own);
    else if (message.type === "signal" && !own) room?.signal(message);
    else if (message.type === "presence") room?.presence(message);
    else if (message.type === "resync") room?.resync();
    this.#pace.wake();
  }

  /** The next message to send, or null. The room on display comes first. */
  #next() {
    for (const name of this.#leaving) {
      this.#leaving.delete(name);
      return { type: "leave", room: name };
    }
    const rooms = [...this];
    rooms.sort((one, other) => (other === this.current) - (one === this.current));
    for (const room of rooms) {
      const message = room.next();
      if (message !== null) return message;
    }
    if (this.#isPinged || !rooms.some((room) => room.state === "replaying")) return null;
    this.#isPinged = true;
    return { type: "ping" };
  }

  #welcome({ user }) {
    this.user = user;
    this.#ids.add(user.id);
    this.#takesSignals = true;
    this.#silentRooms.clear();
    this.#leaving.clear();
    this.#isPinged = false;
    this.#pace.start();
  }

  /** The server answers in order, so the replays of the rooms joined before are complete. */
  #pong() {
    this.#isPinged = false;
    for (const room of this) room.replayed();
  }

  #left(room, { reason }) {
    if (reason === "evicted") room?.evicted();
    // There may be space now for a room that was one too many.
    for (const each of this) each.tryAgain();
  }

  #error(room, { code, detail, room: name, ref }) {
    const entry = room?.pending.get(ref);
    const seconds = Number(TRY_AGAIN.exec(detail)?.[1]);
    if (code === "rate_limited" && seconds && room?.state === "joining" && ref === undefined) {
      room.postponed(tooMuch(seconds));
      this.#tryAfter(seconds * 1000, room);
    } else if (code === "rate_limited") {
      this.#pace.pause(PAUSE);
      if (name === undefined) this.#pong();
      else if (room === undefined) this.#leaving.add(name);
      else if (ref === undefined || entry !== undefined) room.unheard(entry);
    } else if (entry !== undefined) {
      room.rejected(entry, code, code === "internal" ? INTERNAL : sentence(detail));
    } else if (room?.state === "joining" && ref === undefined) {
      const isFinal = code === "forbidden" || code === "refused";
      room.refused(KEEPS_TRYING[code] ?? sentence(detail), isFinal);
      if (code in KEEPS_TRYING) this.#tryAfter(backoff(room.refusals), room);
    } else if (room !== undefined && ref === undefined) {
      this.#signalRefused(room, code);
    }
  }

  /** The server did not take a signal. The application may have none, or not allow it here. */
  #signalRefused(room, code) {
    if (code === "invalid") this.#takesSignals = false;
    else if (code === "forbidden" || code === "refused") this.#silentRooms.add(room.name);
  }

  #tryAfter(milliseconds, room) {
    const again = () => {
      room.tryAgain();
      this.#pace.wake();
    };
    setTimeout(again, milliseconds);
  }
}

function tooMuch(seconds) {
  const time = seconds === 1 ? "1 second" : `${seconds} seconds`;
  return `The server does not send so much at once. This page tries again by itself in ${time}.`;
}

function sentence(detail) {
  const end = /[.!?…]$/.test(detail) ? "" : ".";
  return `${detail.charAt(0).toUpperCase()}${detail.slice(1)}${end}`;
}

// crypto.randomUUID exists on secure origins only.
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
