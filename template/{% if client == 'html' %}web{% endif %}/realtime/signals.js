/** Signals that wait to be sent to a room. Of each event, only the newest one does. */
export class Signals {
  #room;
  #waiting = new Map();
  // The events that the server does not take as signals.
  #muted = new Set();
  #last = "";

  constructor(room) {
    this.#room = room;
  }

  add(event, data) {
    if (!this.#muted.has(event)) this.#waiting.set(event, data);
  }

  /** The next message to send, or null. It counts as sent. */
  next() {
    for (const [event, data] of this.#waiting) {
      this.#waiting.delete(event);
      this.#last = event;
      return { type: "signal", room: this.#room, event, data };
    }
    return null;
  }

  /** The server did not take a signal, which must be the last one: send none of that event. */
  refused() {
    this.#muted.add(this.#last);
  }

  /** Nothing can be sent any more. The server of the next connection may take all events. */
  clear() {
    this.#waiting.clear();
    this.#muted.clear();
  }
}
