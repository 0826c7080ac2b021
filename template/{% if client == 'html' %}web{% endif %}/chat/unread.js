/**
 * How many messages of each room the user has not seen: those that came while the room was
 * not on display, or the tab was hidden.
 */
export class Unread {
  /** Grows with each change. */
  version = 0;
  #client;
  #states = new Map();
  #shown = "";
  #isVisible;
  #listeners = new Set();
  #stop;

  constructor(client, isVisible) {
    this.#client = client;
    this.#isVisible = isVisible;
    this.#stop = client.subscribe(() => {
      this.#roomsChanged();
    });
    this.#roomsChanged();
  }

  /** How many unread messages there are in all rooms. */
  get total() {
    let total = 0;
    for (const { count } of this.#states.values()) total += count;
    return total;
  }

  /** How many messages of a room are unread. */
  count(name) {
    return this.#of(name)?.count ?? 0;
  }

  /** The key of the entry above which "New messages" is shown, or null. */
  mark(name) {
    return this.#of(name)?.mark ?? null;
  }

  /** This room is on display now. */
  show(name) {
    if (name !== this.#shown) {
      const before = this.#of(this.#shown);
      if (before?.count === 0) before.mark = null;
      this.#shown = name;
    }
    this.#see();
  }

  /** Whether the tab is visible. */
  setVisible(isVisible) {
    this.#isVisible = isVisible;
    this.#see();
  }

  /** Call the listener after any change. Returns what ends that. */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close() {
    this.#stop();
    for (const { stop } of this.#states.values()) stop();
    this.#states.clear();
    this.#listeners.clear();
  }

  #of(name) {
    const room = this.#client.rooms.get(name);
    return room && this.#states.get(room);
  }

  /** The room on display is read, if the tab is visible. */
  #see() {
    const shown = this.#of(this.#shown);
    if (this.#isVisible && shown !== undefined) shown.count = 0;
    this.#changed();
  }

  #received(room, entry) {
    const state = this.#states.get(room);
    if (entry.own || state === undefined) return;
    if (room.name === this.#shown && this.#isVisible) return;
    if (state.count === 0) state.mark = entry.key;
    state.count += 1;
    this.#changed();
  }

  /** Listen in the rooms that were entered, and forget those that were left. */
  #roomsChanged() {
    const rooms = new Set(this.#client.rooms.values());
    for (const [room, { stop }] of this.#states) {
      if (rooms.has(room)) continue;
      stop();
      this.#states.delete(room);
      this.#changed();
    }
    for (const room of rooms) {
      if (this.#states.has(room)) continue;
      const stop = room.onMessage((entry) => {
        this.#received(room, entry);
      });
      this.#states.set(room, { count: 0, mark: null, stop });
    }
  }

  #changed() {
    this.version += 1;
    for (const listener of this.#listeners) listener();
  }
}

/** The document's title, which says how many messages are unread. */
export function titleWith(title, unread) {
  return unread > 0 ? `(${unread}) ${title}` : title;
}
