// Messages per second, and in one burst. Both are well below the server's default limit
// (MESSAGES_PER_SECOND): it closes the socket of a client that keeps exceeding it.
const RATE = 15;
const BURST = 15;

/**
 * Sends messages no faster than the server takes them. Whenever it may send one, it calls
 * `next`, which returns a message or null.
 */
export class Pace {
  #next;
  #send;
  #isOpen = false;
  // A token bucket: each message takes one token.
  #tokens = 0;
  #filledAt = 0;
  #timer;

  constructor(next, send) {
    this.#next = next;
    this.#send = send;
  }

  /** There is a new connection, over which nothing has been sent. */
  start() {
    this.#isOpen = true;
    this.#tokens = BURST;
    this.#filledAt = performance.now();
    this.wake();
  }

  stop() {
    this.#isOpen = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** There may be something to send. */
  wake() {
    if (this.#isOpen && this.#timer === undefined) this.#run();
  }

  /** Send nothing for so many milliseconds, and no burst after that. */
  pause(duration) {
    clearTimeout(this.#timer);
    this.#tokens = 0;
    this.#filledAt = performance.now() + duration;
    this.#runAfter(duration + Math.ceil(1000 / RATE));
  }

  #run() {
    this.#timer = undefined;
    const now = performance.now();
    this.#tokens = Math.min(BURST, this.#tokens + ((now - this.#filledAt) * RATE) / 1000);
    this.#filledAt = now;
    while (this.#tokens >= 1) {
      const message = this.#next();
      if (message === null) return;
      this.#tokens -= 1;
      this.#send(message);
    }
    this.#runAfter(Math.ceil(((1 - this.#tokens) * 1000) / RATE));
  }

  #runAfter(duration) {
    this.#timer = setTimeout(() => {
      this.#run();
    }, duration);
  }
}
