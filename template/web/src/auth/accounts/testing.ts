// A server of HTTP for tests.

import { vi } from "vitest";
import { setServer } from "../server.js";

interface Request {
  path: string;
  fields: Record<string, string>;
  options: RequestInit;
}

/** Answers requests by their paths, and remembers them. */
export class FakeServer {
  readonly requests: Request[] = [];
  readonly #answers = new Map<string, [number, unknown]>();

  constructor() {
    setServer("https://server.test/");
    vi.stubGlobal("fetch", (url: URL, options: RequestInit) => {
      const path = url.pathname.slice(1);
      const { body } = options;
      const fields = body instanceof URLSearchParams ? Object.fromEntries(body) : {};
      this.requests.push({ path, fields, options });
      const [status, answer] = this.#answers.get(path) ?? [404, { detail: "Not Found" }];
      if (status === 0) return Promise.reject(new TypeError("fetch failed"));
      const text = status === 204 ? null : JSON.stringify(answer);
      return Promise.resolve(new Response(text, { status }));
    });
  }

  /** The status 0 means that the server can't be reached. */
  answers(path: string, status: number, answer: unknown = null): void {
    this.#answers.set(path, [status, answer]);
  }

  /** The fields of the requests for a path since the last call. */
  asked(path: string): Record<string, string>[] {
    const found = this.requests.filter((request) => request.path === path);
    this.requests.length = 0;
    return found.map(({ fields }) => fields);
  }
}
