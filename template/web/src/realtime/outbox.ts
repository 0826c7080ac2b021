import { keyOf } from "./entry.js";
import type { ClientMessage, ErrorCode } from "./protocol.js";
import type { MessageEntry } from "./types.js";

// How many messages may wait in a room.
const MOST = 1_000;
// The time (milliseconds) in which the server usually acknowledges a message, and how much
// longer to wait after that.
const ANSWER = 5_000;
const PATIENCE = 15_000;

const UNCONFIRMED = "The server did not confirm this message.";

interface Waiting {
  entry: MessageEntry;
  /** Runs while an answer is due. */
  timer: ReturnType<typeof setTimeout> | undefined;
  /** Whether the room may have it from an earlier attempt. */
  mayBeThere: boolean;
}

/** The user's own unacknowledged messages in a room, in the order of writing. */
export class Outbox {
  readonly #room: string;
  // By the keys of the entries.
  readonly #waiting = new Map<string, Waiting>();
  readonly #onChange: () => void;
  readonly #onSilence: () => void;

  /** `onSilence` is called when the server does not acknowledge a message in time. */
  constructor(room: string, onChange: () => void, onSilence: () => void) {
    this.#room = room;
    this.#onChange = onChange;
    this.#onSilence = onSilence;
  }

  get size(): number {
    return this.#waiting.size;
  }

  get entries(): MessageEntry[] {
    return Array.from(this.#waiting.values(), ({ entry }) => entry);
  }

  /** Throws RangeError if too many messages wait already. */
  add(entry: MessageEntry): void {
    if (this.#waiting.size >= MOST) throw new RangeError("Too many messages wait to be sent.");
    this.#waiting.set(entry.key, { entry, timer: undefined, mayBeThere: false });
    this.#onChange();
  }

  /** The next message to send, or null. It counts as sent. */
  next(): ClientMessage | null {
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
  take(key: string): MessageEntry | undefined {
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) return undefined;
    clearTimeout(waiting.timer);
    this.#waiting.delete(key);
    this.#onChange();
    return waiting.entry;
  }

  /** Send a failed message again, under the same id: it can't arrive twice. */
  retry(key: string): void {
    const waiting = this.#waiting.get(key);
    if (waiting?.entry.state === "failed") this.#become(waiting, "pending");
  }

  /**
   * The server did not carry out a message. Returns true if that means that the room has it:
   * the message that already has this id is this one, and its acknowledgement was lost.
   */
  refused(id: string, code: ErrorCode, reason: string): boolean {
    const waiting = this.#waiting.get(keyOf(id));
    if (waiting === undefined) return false;
    if (code === "invalid" && waiting.mayBeThere) return true;
    if (code === "rate_limited") stopTimer(waiting);
    else if (waiting.entry.state === "pending") this.#fail(waiting, reason, code === "unavailable");
    return false;
  }

  /** Give back all messages, or those that wait for an answer. */
  fail(reason: string, onlySent = false): void {
    for (const waiting of this.#waiting.values()) {
      const isSent = waiting.timer !== undefined;
      if (isSent || (!onlySent && waiting.entry.state === "pending")) {
        this.#fail(waiting, reason, isSent);
      }
    }
  }

  /** The connection is gone. What had no answer is sent again after the next one. */
  disconnected(): void {
    for (const waiting of this.#waiting.values()) {
      waiting.mayBeThere ||= waiting.timer !== undefined;
      stopTimer(waiting);
    }
  }

  #unanswered(waiting: Waiting): void {
    waiting.timer = setTimeout(() => {
      this.#fail(waiting, UNCONFIRMED, true);
    }, PATIENCE);
    this.#onSilence();
  }

  #fail(waiting: Waiting, reason: string, mayBeThere: boolean): void {
    stopTimer(waiting);
    waiting.mayBeThere ||= mayBeThere;
    this.#become(waiting, "failed", reason);
  }

  #become(waiting: Waiting, state: "pending" | "failed", reason = ""): void {
    waiting.entry = { ...waiting.entry, state, reason };
    this.#onChange();
  }
}

function stopTimer(waiting: Waiting): void {
  clearTimeout(waiting.timer);
  waiting.timer = undefined;
}
