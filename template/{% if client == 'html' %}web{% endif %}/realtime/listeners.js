/** Functions to call when something happens. */
export class Listeners {
  #listeners = new Set();

  /** Returns a function that removes the listener. */
  add(listener) {
    const added = (value) => {
      listener(value);
    };
    this.#listeners.add(added);
    return () => {
      this.#listeners.delete(added);
    };
  }

  /** Call them all. The error of one is reported, and does not keep the others from it. */
  notify(value) {
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
  #listeners = new Listeners();
  #isScheduled = false;

  subscribe = (listener) => this.#listeners.add(listener);

  changed() {
    this.version += 1;
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      this.#listeners.notify();
    });
  }
}
