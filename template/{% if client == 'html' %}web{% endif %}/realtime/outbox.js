import { keyOf } from "./entry.js";

// How many messages may wait in a room.
const MOST = 1_000;
// The time (milliseconds) in which the server usually acknowledges a message, and how much
// longer to wait after that.
const ANSWER = 5_000;
const PATIENCE = 15_000;

const UNCONFIRMED = "The server did not confirm this message.";
/** The user's own unacknowledged messages in a room, in the order of writing. */
export class Outbox {
  #room;
  // By the keys of the entries.
  #waiting = new Map();
  #onChange;
  #onSilence;

  /** `onSilence` is called when the server does not acknowledge a message in time. */
  constructor(room, onChange, onSilence) {
    this.#room = room;
    this.#onChange = onChange;
    this.#onSilence = onSilence;
  }

  get size() {
    return this.#waiting.size;
  }

  get entries() {
    return Array.from(this.#waiting.values(), ({ entry }) => entry);
  }

  /** Throws RangeError if too many messages wait already. */
  add(entry) {
    if (this.#waiting.size >= MOST) throw new RangeError("Too many messages wait to be sent.");
    this.#waiting.set(entry.key, { entry, timer: undefined, mayBeThere: false });
    this.#onChange();
  }

  /** The next message to send, or null. It counts as sent. */
  next() {
    for (const waiting of this.#waiting.values()) {
      const { id, event, data, state } = waiting.entry;
      if (state === "pending" && waiting.timer === undefined) {
        waiting.timer = setTimeout(() => {
          this.#unanswered(waiting);
        }, ANSWER);
        return { type: "publish", room: this.#room, id, event, data };
      }
    }
    return null;
  }

  /** A message waits no more. Returns what was shown of it, if it is here. */
  take(key) {
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) return undefined;
    clearTimeout(waiting.timer);
    this.#waiting.delete(key);
    this.#onChange();
    return waiting.entry;
  }

  /** Send a failed message again, under the same id: it can't arrive twice. */
  retry(key) {
    const waiting = this.#waiting.get(key);
    if (waiting?.entry.state === "failed") this.#become(waiting, "pending");
  }

  /**
   * The server did not carry out a message. Returns true if that means that the room has it:
   * the message that already has this id is this one, and its acknowledgement was lost.
   */
  refused(id, code, reason) {
    const waiting = this.#waiting.get(keyOf(id));
    if (waiting === undefined) return false;
    if (code === "invalid" && waiting.mayBeThere) return true;
    if (code === "rate_limited") stopTimer(waiting);
    else if (waiting.entry.state === "pending") this.#fail(waiting, reason, code === "unavailable");
    return false;
  }

  /** Give back all messages, or those that wait for an answer. */
  fail(reason, onlySent = false) {
    for (const waiting of this.#waiting.values()) {
      const isSent = waiting.timer !== undefined;
      if (isSent || (!onlySent && waiting.entry.state === "pending")) {
        this.#fail(waiting, reason, isSent);
      }
    }
  }

  /** The connection is gone. What had no answer is sent again after the next one. */
  disconnected() {
    for (const waiting of this.#waiting.values()) {
      waiting.mayBeThere ||= waiting.timer !== undefined;
      stopTimer(waiting);
    }
  }

  #unanswered(waiting) {
    waiting.timer = setTimeout(() => {
      this.#fail(waiting, UNCONFIRMED, true);
    }, PATIENCE);
    this.#onSilence();
  }

  #fail(waiting, reason, mayBeThere) {
    stopTimer(waiting);
    waiting.mayBeThere ||= mayBeThere;
    this.#become(waiting, "failed", reason);
  }

  #become(waiting, state, reason = "") {
    waiting.entry = { ...waiting.entry, state, reason };
    this.#onChange();
  }
}

function stopTimer(waiting) {
  clearTimeout(waiting.timer);
  waiting.timer = undefined;
}
