// How many entries are kept: usually, and while the reader looks at earlier messages.
const USUAL = 500;
const MOST = 2_000;

/** The messages and notices of a room in order, each once. The oldest are dropped. */
export class Log {
  #entries = [];
  #ids = new Set();
  #epoch = "";
  // Where the messages of the current epoch begin. Their offsets say nothing about others.
  #start = 0;
  // Whether the server remembers nothing before the first message.
  #isComplete = false;
  #isExtended = false;
  #notices = 0;

  get entries() {
    return this.#entries;
  }

  get last() {
    return this.#entries.at(-1);
  }

  /** The offset of the first message; null if no earlier messages can be put in front of it. */
  get earliest() {
    if (this.#isComplete || this.#start > 0 || this.#entries.length >= MOST) return null;
    const first = this.#entries.find((entry) => entry.kind === "message");
    return first?.offset != null && first.offset > 1 ? first.offset : null;
  }

  has(id) {
    return this.#ids.has(id);
  }

  /** The following messages are of this epoch. */
  begin(epoch) {
    if (epoch === this.#epoch) return;
    this.#epoch = epoch;
    this.#start = this.#entries.length;
  }

  /** Put a message where its offset belongs, which is nearly always the end. */
  add(entry) {
    const offset = entry.offset ?? Infinity;
    let place = this.#entries.length;
    for (let index = place - 1; index >= this.#start; index -= 1) {
      const other = this.#entries[index];
      if (other?.kind !== "message") continue;
      if ((other.offset ?? 0) < offset) break;
      place = index;
    }
    this.#entries.splice(place, 0, entry);
    this.#ids.add(entry.id);
    this.#trim();
  }

  notice(text) {
    this.#notices += 1;
    this.#entries.push({ kind: "notice", key: `notice-${this.#notices}`, text });
    this.#trim();
  }

  /**
   * Put earlier messages in front, the newest of them last. `isComplete` says that the server
   * remembers nothing before them.
   */
  prepend(earlier, isComplete) {
    const space = MOST - this.#entries.length;
    const added = earlier.filter(({ id }) => !this.#ids.has(id)).slice(-space);
    this.#isComplete = isComplete;
    this.#isExtended = true;
    this.#entries.unshift(...added);
    for (const { id } of added) this.#ids.add(id);
  }

  /** Nobody looks at the earlier messages any more. */
  shrink() {
    this.#isExtended = false;
    this.#trim();
  }

  #trim() {
    const most = this.#isExtended ? MOST : USUAL;
    const dropped = this.#entries.splice(0, this.#entries.length - most);
    if (dropped.length === 0) return;
    for (const entry of dropped) {
      if (entry.kind === "message") this.#ids.delete(entry.id);
    }
    this.#start = Math.max(0, this.#start - dropped.length);
    this.#isComplete = false;
  }
}
