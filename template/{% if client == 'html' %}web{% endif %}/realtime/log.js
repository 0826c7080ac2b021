// How many entries are kept: usually, and while the reader looks at earlier messages.
const USUAL = 500;
const MOST = 2_000;

const MISSED = "The connection was interrupted. Messages may be missing here.";

/** The messages and notices of a room in order, each once. The oldest are dropped. */
export class Log {
  #entries = [];
  #ids = new Set();
  #epoch = "";
  // Where the entries of this epoch begin, and those after the last gap.
  #epochStart = 0;
  #start = 0;
  // Those after the gap are later than `after`. None is missing between `from` and the first.
  #after = 0;
  #from = 0;
  // Whether the server remembers nothing before the first message.
  #isComplete = false;
  #isExtended = false;
  #notices = 0;

  get entries() {
    return this.#entries;
  }

  /** The offset of the first message; null if no earlier messages can be put in front of it. */
  get earliest() {
    if (this.#isComplete || this.#epochStart > 0 || this.#entries.length >= MOST) return null;
    const first = this.#entries.find((entry) => entry.kind === "message");
    return first?.offset != null && first.offset > 1 ? first.offset : null;
  }

  /** The following messages are of this epoch. The first ones may be those before an offset. */
  begin(epoch, offset) {
    if (epoch === this.#epoch) return;
    if (this.#epoch !== "") this.#epochStart = this.#entries.length;
    this.#epoch = epoch;
    this.#start = this.#entries.length;
    this.#after = 0;
    this.#from = offset;
  }

  /** Messages may be missing after this offset. Says so, once. */
  gap(after) {
    const last = this.#entries.at(-1);
    if (last?.kind !== "notice" || last.text !== MISSED) this.notice(MISSED);
    this.#after = after;
    this.#start = this.#entries.length;
    this.#from = Infinity;
  }

  /**
   * Put a message where its offset belongs, which is nearly always the end. Returns false if it
   * has no place: it is there already, or between messages that are not here.
   */
  add(entry) {
    const place = this.#placeOf(entry.offset ?? Infinity);
    if (place === null || this.#ids.has(entry.id)) return false;
    this.#entries.splice(place, 0, entry);
    this.#ids.add(entry.id);
    this.#trim();
    return true;
  }

  #placeOf(offset) {
    const end = this.#entries.length;
    let place = end;
    for (let index = end - 1; index >= this.#start; index -= 1) {
      const other = this.#entries[index];
      if (other?.kind !== "message") continue;
      const before = other.offset ?? 0;
      if (before < offset) return place;
      if (before === offset) return null;
      place = index;
    }
    return offset > (place === end ? this.#after : this.#from) ? place : null;
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
    if (this.#start > 0) this.#start += added.length;
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
    this.#epochStart = Math.max(0, this.#epochStart - dropped.length);
    this.#from = Infinity;
    this.#isComplete = false;
  }
}
