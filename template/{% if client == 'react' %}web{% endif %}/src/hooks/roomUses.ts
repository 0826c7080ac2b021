import type { Application } from "../events.js";
import type { Client } from "../realtime/index.js";

/** Counts the components that use a room, and leaves it after the last one. */
export class RoomUses {
  readonly #client: Client<Application>;
  readonly #counts = new Map<string, number>();

  constructor(client: Client<Application>) {
    this.#client = client;
  }

  /** A component uses this room. Returns what to call when it does not any more. */
  add(name: string): () => void {
    this.#client.enter(name);
    this.#change(name, 1);
    return () => {
      this.#change(name, -1);
      // Another component may use it at once: React unmounts before it mounts.
      queueMicrotask(() => {
        if (!this.#counts.has(name)) this.#client.leave(name);
      });
    };
  }

  #change(name: string, by: number): void {
    const count = (this.#counts.get(name) ?? 0) + by;
    if (count === 0) this.#counts.delete(name);
    else this.#counts.set(name, count);
  }
}
