import type { Application } from "../events.js";
import type { Member, Room } from "../realtime/index.js";

/** How long (milliseconds) a user counts as typing after a signal. */
const SHOWN = 5_000;
/** How often at most (milliseconds) this page says that its user is typing. */
const EVERY = 3_000;
const SIGNAL = "chat.typing";

/**
 * Who is typing in a room, and when to tell the others that this user is.
 *
 * There is one for each room. It stops by `close`.
 */
export class Typing {
  /** The names of the other users who are typing: a new array whenever it changes. */
  names: readonly string[] = [];
  #room: Room<Application>;
  #others = new Map<string, { name: string; timer: ReturnType<typeof setTimeout> }>();
  #members: ReadonlySet<string> = new Set();
  #sentAt = -EVERY;
  #listeners = new Set<() => void>();
  #stop: (() => void)[];

  constructor(room: Room<Application>) {
    this.#room = room;
    this.#stop = [
      room.onSignal(({ event, sender }) => {
        // The application may have other signals one day.
        if ((event as string) === SIGNAL && sender !== null) this.#heard(sender);
      }),
      room.onMessage(({ sender }) => {
        if (sender !== null) this.#stopped(sender.id);
      }),
      room.subscribe(() => {
        this.#roomChanged();
      }),
    ];
    this.#roomChanged();
  }

  /** Call the listener after any change of `names`. Returns what ends that. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** This user changed the text of a message. */
  typed(text: string): void {
    if (text.trim() === "" || this.#room.state !== "inside") return;
    const now = performance.now();
    if (now - this.#sentAt < EVERY) return;
    this.#sentAt = now;
    this.#room.signal(SIGNAL, {});
  }

  close(): void {
    for (const stop of this.#stop) stop();
    for (const { timer } of this.#others.values()) clearTimeout(timer);
    this.#others.clear();
    this.#listeners.clear();
  }

  #heard({ id, name }: Member): void {
    const before = this.#others.get(id);
    clearTimeout(before?.timer);
    const timer = setTimeout(() => {
      this.#stopped(id);
    }, SHOWN);
    this.#others.set(id, { name, timer });
    if (before?.name !== name) this.#changed();
  }

  #stopped(id: string): void {
    clearTimeout(this.#others.get(id)?.timer);
    if (this.#others.delete(id)) this.#changed();
  }

  /** Outside a room nobody knows who is typing in it, and who has left is not typing. */
  #roomChanged(): void {
    const isOutside = this.#room.state !== "inside" && this.#room.state !== "replaying";
    const members = new Set(this.#room.members?.keys());
    for (const id of [...this.#others.keys()]) {
      if (isOutside || (this.#members.has(id) && !members.has(id))) this.#stopped(id);
    }
    this.#members = members;
  }

  #changed(): void {
    this.names = Array.from(this.#others.values(), ({ name }) => name);
    for (const listener of this.#listeners) listener();
  }
}
