// How many messages to ask for at once.
const PAGE = 50;
// How long (milliseconds) the server may take to send them, over lost connections too.
const PATIENCE = 20_000;

/** Asks the server for a room's earlier messages, one page at a time. */
export class Earlier {
  /** The offset before which messages are being loaded, or null. */
  before = null;
  #room;
  #onChange;
  #loaded = Promise.resolve();
  #finish = () => undefined;
  // Whether the server was asked, and has not refused.
  #isSent = false;
  #timer;
  #pause;

  constructor(room, onChange) {
    this.#room = room;
    this.#onChange = onChange;
  }

  /** Ask for the messages before an offset. Resolves at the end, with or without an answer. */
  load(before) {
    if (before === null || this.before !== null) return this.#loaded;
    this.before = before;
    this.#isSent = false;
    this.#loaded = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.#timer = setTimeout(() => {
      this.end();
    }, PATIENCE);
    this.#onChange();
    return this.#loaded;
  }

  /** The next message to send, or null. It counts as sent. */
  next() {
    if (this.before === null || this.#isSent) return null;
    this.#isSent = true;
    return { type: "history", room: this.#room, before: this.before, limit: PAGE };
  }

  /** The server did not carry out the request: ask again, after so many milliseconds. */
  retry(after) {
    clearTimeout(this.#pause);
    this.#pause = setTimeout(() => {
      this.disconnected();
      this.#onChange();
    }, after);
  }

  /** The connection is gone. The next one asks again. */
  disconnected() {
    clearTimeout(this.#pause);
    this.#isSent = false;
  }

  /** Nothing more is loaded. */
  end() {
    clearTimeout(this.#timer);
    clearTimeout(this.#pause);
    this.before = null;
    this.#onChange();
    this.#finish();
  }
}
