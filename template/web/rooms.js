import { backoff } from "./backoff.js";
import { Pace } from "./pace.js";
import { Room } from "./room.js";

const ROOM_NAME = /^[A-Za-z0-9_.-]{1,64}$/;
const UNAVAILABLE = "The room can't be entered at the moment. This page keeps trying.";
// How long (milliseconds) to send nothing when the server asks for less.
const PAUSE = 1_500;

export function isRoomName(name) {
  return ROOM_NAME.test(name);
}

/**
 * The rooms this page is in: what the server says goes to them, and what they have to say
 * goes to the server, at a pace that it takes.
 *
 * The callbacks are those of `Room`.
 */
export class Rooms {
  user = "";
  // The room on display.
  current = null;
  #rooms = new Map();
  // Names of rooms to leave.
  #leaving = new Set();
  // The user's name may be another with every connection.
  #names = new Set();
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

  /** Whether own messages are here that the server has not acknowledged. */
  get hasPending() {
    return [...this].some((room) => room.pending.size > 0);
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
    this.#leaving.add(room.name);
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

  /** The connection is gone. */
  disconnected() {
    this.#pace.stop();
    for (const room of this) room.disconnected();
  }

  /** The connection ended because of an own message, and would again. */
  tooBig() {
    for (const room of this) room.tooBig();
  }

  /** Take in a message of the server. */
  receive(message) {
    const room = this.#rooms.get(message.room);
    if (message.type === "welcome") this.#welcome(message);
    else if (message.type === "pong") this.#pong();
    else if (message.type === "error") this.#error(room, message);
    else if (message.type === "left") this.#left();
    else if (message.type === "joined") room?.joined(message);
    else if (message.type === "message") room?.message(message, this.#names.has(message.sender));
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
    this.#names.add(user);
    this.#leaving.clear();
    this.#isPinged = false;
    this.#pace.start();
  }

  /** The server answers in order: what it replays to rooms joined before is complete. */
  #pong() {
    this.#isPinged = false;
    for (const room of this) room.replayed();
  }

  /** There may be space now for a room that was one too many. */
  #left() {
    for (const room of this) room.tryAgain();
  }

  #error(room, { code, detail, room: name, ref }) {
    const entry = room?.pending.get(ref);
    if (code === "rate_limited") {
      this.#pace.pause(PAUSE);
      if (name === undefined) this.#pong();
      else if (room === undefined) this.#leaving.add(name);
      else if (ref === undefined || entry !== undefined) room.unheard(entry);
    } else if (entry !== undefined) {
      room.rejected(entry, code, sentence(detail));
    } else if (room !== undefined && ref === undefined) {
      const keepsTrying = code === "unavailable";
      room.refused(keepsTrying ? UNAVAILABLE : sentence(detail), code === "forbidden");
      if (keepsTrying) this.#tryLater(room);
    }
  }

  #tryLater(room) {
    const again = () => {
      room.tryAgain();
      this.#pace.wake();
    };
    setTimeout(again, backoff(room.refusals));
  }
}

function sentence(detail) {
  return `${detail.charAt(0).toUpperCase()}${detail.slice(1)}.`;
}

// crypto.randomUUID exists on secure origins only.
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
