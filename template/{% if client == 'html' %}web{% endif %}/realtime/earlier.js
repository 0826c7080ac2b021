// How many messages to ask for at once.
const PAGE = 50;
// How long (milliseconds) the server may take to send them, over lost connections too.
const PATIENCE = 20_000;
/** Asks the server for a room's earlier messages, one page at a time. */
export class Earlier {
  #room;
  #onChange;
  #request = null;
  #timer;
  #pause;

  constructor(room, onChange) {
    this.#room = room;
    this.#onChange = onChange;
  }

  get isLoading() {
    return this.#request !== null;
  }

  /** The offset before which messages are being loaded, or null. */
  get before() {
    return this.#request?.before ?? null;
  }

  /** Ask for the messages before an offset. Resolves at the end, with or without an answer. */
  load(before) {
    if (this.#request !== null) return this.#request.promise;
    let finish = () => undefined;
    const promise = new Promise((resolve) => {
      finish = resolve;
    });
    this.#request = { before, isSent: false, promise, finish };
    this.#timer = setTimeout(() => {
      this.end();
    }, PATIENCE);
    this.#onChange();
    return promise;
  }

  /** The next message to send, or null. It counts as sent. */
  next() {
    if (this.#request === null || this.#request.isSent) return null;
    this.#request.isSent = true;
    return { type: "history", room: this.#room, before: this.#request.before, limit: PAGE };
  }

  /** The server did not carry out the request, or the connection is gone: ask again. */
  unheard() {
    clearTimeout(this.#pause);
    if (this.#request !== null) this.#request.isSent = false;
  }

  /** Ask again after so many milliseconds. */
  askAfter(milliseconds) {
    if (this.#request === null) return;
    clearTimeout(this.#pause);
    this.#pause = setTimeout(() => {
      this.unheard();
      this.#onChange();
    }, milliseconds);
  }

  /** Nothing more is loaded. */
  end() {
    clearTimeout(this.#timer);
    clearTimeout(this.#pause);
    const finish = this.#request?.finish;
    this.#request = null;
    if (finish === undefined) return;
    this.#onChange();
    finish();
  }
}
