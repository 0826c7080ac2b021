/** Functions to call when something happens. */
export class Listeners<Value = void> {
  readonly #listeners = new Set<(value: Value) => void>();

  /** Returns a function that removes the listener. */
  add(listener: (value: Value) => void): () => void {
    const added = (value: Value) => {
      listener(value);
    };
    this.#listeners.add(added);
    return () => {
      this.#listeners.delete(added);
    };
  }

  /** Call them all. The error of one is reported, and does not keep the others from it. */
  notify(value: Value): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(value);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}

/** Counts changes, and tells listeners about them at most once a microtask. */
export class Changes {
  version = 0;
  readonly #listeners = new Listeners();
  #isScheduled = false;

  readonly subscribe = (listener: () => void): (() => void) => this.#listeners.add(listener);

  changed(): void {
    this.version += 1;
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      this.#listeners.notify();
    });
  }
}
