// How long (milliseconds) a user counts as typing after a signal, and how often at most
// this page sends one.
const SHOWN = 5_000;
const EVERY = 3_000;

/** Who is typing in a room, and whether the server should hear that this user is. */
export class Typing {
  // The other users who are typing, by id: { name, timer }.
  #others = new Map();
  #isDue = false;
  #sentAt = -EVERY;
  #onChange;

  constructor(onChange) {
    this.#onChange = onChange;
  }

  /** The names of the other users who are typing. */
  get names() {
    return Array.from(this.#others.values(), ({ name }) => name);
  }

  /** Another user is typing. */
  heard({ id, name }) {
    const isNews = this.#others.get(id)?.name !== name;
    clearTimeout(this.#others.get(id)?.timer);
    const timer = setTimeout(() => this.stopped(id), SHOWN);
    this.#others.set(id, { name, timer });
    if (isNews) this.#onChange();
  }

  /** Another user is not typing any more. */
  stopped(id) {
    clearTimeout(this.#others.get(id)?.timer);
    if (this.#others.delete(id)) this.#onChange();
  }

  /** It is not known any more who is typing, and nothing can be sent. */
  clear() {
    this.#isDue = false;
    for (const id of [...this.#others.keys()]) this.stopped(id);
  }

  /** This user's text has changed: `isTyping` unless the text is empty, or was sent. */
  changed(isTyping) {
    this.#isDue = isTyping && performance.now() - this.#sentAt >= EVERY;
  }

  /** Whether to send a signal. If so, it counts as sent. */
  take() {
    if (!this.#isDue) return false;
    this.#isDue = false;
    this.#sentAt = performance.now();
    return true;
  }
}
