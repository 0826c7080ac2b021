// Messages a second and at once: well below what the server takes as a rule, for it closes
// the socket of who goes on sending too much (MESSAGES_PER_SECOND).
const RATE = 15;
const BURST = 15;

/**
 * Sends no faster than the server takes. What there is to send, it asks for when it may:
 * `next` returns a message, or null.
 */
export class Pace {
  #next;
  #send;
  #isOpen = false;
  // A bucket of tokens, of which each message takes one.
  #tokens = 0;
  #filledAt = 0;
  #timer = 0;

  constructor(next, send) {
    this.#next = next;
    this.#send = send;
  }

  /** A connection is there, and the server has heard nothing over it. */
  start() {
    this.#isOpen = true;
    this.#tokens = BURST;
    this.#filledAt = performance.now();
    this.wake();
  }

  stop() {
    this.#isOpen = false;
    clearTimeout(this.#timer);
    this.#timer = 0;
  }

  /** There is something to send. */
  wake() {
    if (this.#isOpen && this.#timer === 0) this.#run();
  }

  /** Send nothing for a while (milliseconds), and no burst after that. */
  pause(duration) {
    clearTimeout(this.#timer);
    this.#tokens = 0;
    this.#filledAt = performance.now() + duration;
    this.#runAfter(duration + Math.ceil(1000 / RATE));
  }

  #run() {
    this.#timer = 0;
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
    this.#timer = setTimeout(() => this.#run(), duration);
  }
}
