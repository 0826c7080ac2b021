import { backoff } from "./backoff.js";

const LOG_LENGTH = 500;
const ROOM_NAME = /^[A-Za-z0-9_.-]{1,64}$/;

export function isRoomName(name) {
  return ROOM_NAME.test(name);
}

/** A room as this page knows it. */
class Room {
  constructor(name) {
    this.name = name;
    // Whether the server took this connection in.
    this.joined = false;
    // How often in a row it did not.
    this.refusals = 0;
    // The last { epoch, offset } seen here.
    this.position = null;
    this.members = new Set();
    // Messages and notices in their order; the oldest are forgotten.
    this.log = [];
    // The own messages that have not come back yet, by id.
    this.pending = new Map();
    this.unread = 0;
    this.draft = "";
  }
}

/**
 * The rooms this page is in: joining and rejoining, publishing until the server
 * acknowledges, and showing nothing twice.
 *
 * An entry of a room is a message, { id, sender, own, text, sentAt, state, reason }
 * with the state "pending", "sent" or "failed", or a notice, { notice }.
 */
export class Rooms {
  user = "";
  #rooms = new Map();
  // The name may be another with every connection.
  #names = new Set();
  #send;
  #onEntry;
  #onForgotten;
  #onMembers;

  constructor(send, { onEntry, onForgotten, onMembers }) {
    this.#send = send;
    this.#onEntry = onEntry;
    this.#onForgotten = onForgotten;
    this.#onMembers = onMembers;
  }

  [Symbol.iterator]() {
    return this.#rooms.values();
  }

  get(name) {
    return this.#rooms.get(name);
  }

  enter(name) {
    let room = this.#rooms.get(name);
    if (room === undefined) {
      room = new Room(name);
      this.#rooms.set(name, room);
      this.#join(room);
    }
    return room;
  }

  leave(room) {
    this.#rooms.delete(room.name);
    this.#send({ type: "leave", room: room.name });
  }

  publish(room, text) {
    const entry = {
      id: newId(),
      sender: this.user,
      own: true,
      text,
      sentAt: new Date(),
      state: "pending",
      reason: "",
    };
    room.pending.set(entry.id, entry);
    this.#onEntry(room, entry);
    this.#publish(room, entry);
  }

  /** Send a failed message again, under the same id: it can't arrive twice. */
  retry(room, entry) {
    entry.state = "pending";
    this.#onEntry(room, entry);
    this.#publish(room, entry);
  }

  discard(room, entry) {
    room.pending.delete(entry.id);
    this.#onForgotten(room, entry);
  }

  notice(room, text) {
    this.#add(room, { notice: text });
  }

  /** The connection is gone, and with it the membership of every room. */
  disconnected() {
    for (const room of this) room.joined = false;
  }

  receive(message) {
    const room = this.#rooms.get(message.room);
    if (message.type === "welcome") this.#welcome(message);
    else if (message.type === "left") this.#left();
    else if (room === undefined) return;
    else if (message.type === "joined") this.#joined(room, message);
    else if (message.type === "message") this.#message(room, message);
    else if (message.type === "presence") this.#presence(room, message);
    else if (message.type === "error") this.#error(room, message);
  }

  #welcome({ user }) {
    this.user = user;
    this.#names.add(user);
    for (const room of this) this.#join(room);
  }

  #join({ name, position }) {
    this.#send({ type: "join", room: name, ...(position && { since: position }) });
  }

  #joined(room, { epoch, offset, recovered, members }) {
    const missed = room.position !== null && !recovered;
    room.joined = true;
    room.refusals = 0;
    room.position = { epoch, offset };
    room.members = new Set(members);
    this.#onMembers(room);
    if (missed) this.notice(room, "You were away. Messages sent meanwhile may be missing here.");
    for (const entry of room.pending.values()) {
      if (entry.state === "pending") this.#publish(room, entry);
    }
  }

  #message(room, { id, offset, sender, text, sent_at }) {
    room.position.offset = offset;
    if (room.log.some((entry) => entry.id === id)) return;
    const own = this.#names.has(sender);
    const entry = (own && room.pending.get(id)) || { id, own };
    room.pending.delete(id);
    this.#add(room, Object.assign(entry, { sender, text, sentAt: new Date(sent_at), state: "sent" }));
  }

  #presence(room, { user, event }) {
    if (event === "join") room.members.add(user);
    else room.members.delete(user);
    this.#onMembers(room);
  }

  /** There may be space now for a room that was one too many. */
  #left() {
    for (const room of this) if (!room.joined) this.#join(room);
  }

  #error(room, { code, detail, ref }) {
    const entry = room.pending.get(ref);
    if (entry !== undefined) {
      entry.state = "failed";
      entry.reason = sentence(detail);
      this.#onEntry(room, entry);
      return;
    }
    if (room.refusals === 0) this.notice(room, sentence(detail));
    if (code === "unavailable" && !room.joined) {
      setTimeout(() => room.joined || this.#join(room), backoff(room.refusals));
      room.refusals += 1;
    }
  }

  #add(room, entry) {
    room.log.push(entry);
    this.#onEntry(room, entry);
    if (room.log.length > LOG_LENGTH) this.#onForgotten(room, room.log.shift());
  }

  #publish(room, { id, text }) {
    if (room.joined) this.#send({ type: "publish", room: room.name, id, text });
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
