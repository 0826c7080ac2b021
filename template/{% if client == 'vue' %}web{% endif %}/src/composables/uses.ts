import type { AppClient, AppRoom } from "./realtime.js";

/** Enters rooms for composables, and leaves a room when none of them uses it any more. */
export class RoomUses {
  readonly #client: AppClient;
  readonly #counts = new Map<string, number>();

  constructor(client: AppClient) {
    this.#client = client;
  }

  /** A composable uses a room until it calls `end`. One that was entered before, stays. */
  begin(name: string): { room: AppRoom; end: () => void } {
    const isKept = !this.#counts.has(name) && this.#client.rooms.has(name);
    const room = this.#client.enter(name);
    if (isKept) return { room, end: () => undefined };
    this.#change(name, 1);
    return { room, end: () => this.#end(name) };
  }

  #end(name: string): void {
    this.#change(name, -1);
    // Another component may take the place of the one that has used it.
    queueMicrotask(() => {
      if (this.#counts.get(name) !== 0) return;
      this.#counts.delete(name);
      this.#client.leave(name);
    });
  }

  #change(name: string, by: number): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + by);
  }
}
