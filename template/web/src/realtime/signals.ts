import type { ClientMessage } from "./protocol.js";

/** Signals that wait to be sent to a room. Of each event, only the newest one does. */
export class Signals {
  readonly #room: string;
  readonly #waiting = new Map<string, unknown>();
  // The events that the server does not take as signals.
  readonly #muted = new Set<string>();
  #last = "";

  constructor(room: string) {
    this.#room = room;
  }

  add(event: string, data: unknown): void {
    if (!this.#muted.has(event)) this.#waiting.set(event, data);
  }

  /** The next message to send, or null. It counts as sent. */
  next(): ClientMessage | null {
    for (const [event, data] of this.#waiting) {
      this.#waiting.delete(event);
      this.#last = event;
      return { type: "signal", room: this.#room, event, data };
    }
    return null;
  }

  /** The server did not take a signal, which must be the last one: send none of that event. */
  refused(): void {
    this.#muted.add(this.#last);
  }

  /** Nothing can be sent any more. The server of the next connection may take all events. */
  clear(): void {
    this.#waiting.clear();
    this.#muted.clear();
  }
}
