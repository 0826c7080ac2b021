// How many messages may wait in a room.
const MOST = 1_000;
// The time (milliseconds) in which the server usually acknowledges a message, and how much
// longer to wait after that.
const ANSWER = 5_000;
const PATIENCE = 15_000;

const UNCONFIRMED = "The server did not confirm this message.";
const TOO_BIG = "This message, or one sent along with it, is too big for the server.";
/** The user's own unacknowledged messages in a room, in the order of writing. */
export class Outbox {
  #room;
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

  /** Raises RangeError if too many messages wait already. */
  add(entry) {
    if (this.#waiting.size >= MOST) throw new RangeError("Too many messages wait to be sent.");
    this.#waiting.set(entry.id, { entry, timer: undefined, mayBeThere: false });
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

  /** The room has a message: it waits no more. Returns what was shown of it, if it is here. */
  settle(id) {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return null;
    clearTimeout(waiting.timer);
    this.#waiting.delete(id);
    this.#onChange();
    return waiting.entry;
  }

  /** Send a failed message again, under the same id: it can't arrive twice. */
  retry(key) {
    const waiting = this.#find(key);
    if (waiting?.entry.state === "failed") this.#become(waiting, "pending");
  }

  discard(key) {
    const waiting = this.#find(key);
    if (waiting !== undefined) this.settle(waiting.entry.id);
  }

  /** The server did not carry out this message: send it again. */
  unheard(id) {
    const waiting = this.#waiting.get(id);
    if (waiting !== undefined) stopTimer(waiting);
  }

  /**
   * The server refused a message. Returns true if that means that the room has it: the
   * message that already has this id is this one, and its acknowledgement was lost.
   */
  rejected(id, code, reason) {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return false;
    if (code === "invalid" && waiting.mayBeThere) return true;
    if (waiting.entry.state === "pending") this.#fail(waiting, reason, code === "unavailable");
    return false;
  }

  /** No message can be sent in this room. */
  refuseAll(reason) {
    for (const waiting of this.#waiting.values()) {
      if (waiting.entry.state === "pending") {
        this.#fail(waiting, reason, waiting.timer !== undefined);
      }
    }
  }

  /** One of the messages that wait for an answer was too big. */
  tooBig() {
    for (const waiting of this.#waiting.values()) {
      if (waiting.timer !== undefined) this.#fail(waiting, TOO_BIG, true);
    }
  }

  /** The connection is gone. What had no answer is sent again after the next one. */
  disconnected() {
    for (const waiting of this.#waiting.values()) {
      if (waiting.timer !== undefined) waiting.mayBeThere = true;
      stopTimer(waiting);
    }
  }

  #find(key) {
    for (const waiting of this.#waiting.values()) {
      if (waiting.entry.key === key) return waiting;
    }
    return undefined;
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
