import { Disconnected, ServerError } from "./errors.js";
import { newId, type ClientMessage, type ErrorMessage, type Result } from "./protocol.js";

// How many calls may wait for their results.
const MOST = 1_000;

/** The event that answers a call, or null if the application had nothing to say. */
export type Answer = { event: string; data: unknown } | null;

interface Waiting {
  event: string;
  data: unknown;
  isSent: boolean;
  resolve: (answer: Answer) => void;
  reject: (reason: Error) => void;
}

/** Calls that wait for their results, by id. */
export class Calls {
  readonly #waiting = new Map<string, Waiting>();

  /**
   * Call the application. Rejects with ServerError, with Disconnected, with the reason of the
   * signal when that is aborted, and with RangeError if 1,000 calls wait already.
   */
  async add(event: string, data: unknown, signal?: AbortSignal): Promise<Answer> {
    signal?.throwIfAborted();
    if (this.#waiting.size >= MOST) throw new RangeError("Too many calls wait for a result.");
    const id = newId();
    const answer = new Promise<Answer>((resolve, reject) => {
      this.#waiting.set(id, { event, data, isSent: false, resolve, reject });
    });
    const onAbort = (): void => {
      this.#waiting.get(id)?.reject(signal?.reason as Error);
    };
    signal?.addEventListener("abort", onAbort);
    try {
      return await answer;
    } finally {
      this.#waiting.delete(id);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** The next call to send, or null. It counts as sent. */
  next(): ClientMessage | null {
    for (const [id, waiting] of this.#waiting) {
      if (waiting.isSent) continue;
      waiting.isSent = true;
      return { type: "call", id, event: waiting.event, data: waiting.data };
    }
    return null;
  }

  result({ id, event, data }: Result): void {
    this.#waiting.get(id)?.resolve(event === undefined ? null : { event, data });
  }

  /** The server did not carry out a call. Above the rate limit, it is sent again. */
  error({ code, detail, ref = "" }: ErrorMessage): void {
    const waiting = this.#waiting.get(ref);
    if (waiting === undefined) return;
    if (code === "rate_limited") waiting.isSent = false;
    else waiting.reject(new ServerError(code, detail));
  }

  /** The connection is gone. Nobody knows what became of the calls, so none is sent again. */
  disconnected(): void {
    for (const waiting of this.#waiting.values()) waiting.reject(new Disconnected());
  }
}
