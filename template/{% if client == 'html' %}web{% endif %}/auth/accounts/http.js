import { addressOf } from "../server.js";

// How long (milliseconds) an answer may take.
const TIMEOUT = 10_000;

/** The server refused a request. The message is a sentence for people. */
export class Refused extends Error {
  status;

  constructor(status, message) {
    super(message);
    this.name = "Refused";
    this.status = status;
  }
}

/** The JSON at `path`, or null for an HTTP 401. Rejects when there is no such answer. */
export async function get(path, options = {}) {
  const signal = AbortSignal.timeout(TIMEOUT);
  const response = await fetch(addressOf(path), { signal, ...options });
  if (response.status === 401) return null;
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return response.json();
}

/** Post a form and return the JSON answer, if any. Rejects with Refused for an HTTP 4xx. */
export async function post(path, fields = {}, options = {}) {
  const body = new URLSearchParams(fields);
  const signal = AbortSignal.timeout(TIMEOUT);
  const response = await fetch(addressOf(path), { method: "POST", body, signal, ...options });
  if (response.status >= 500) throw new Error(`HTTP ${response.status}`);
  if (!response.ok) throw new Refused(response.status, await sentence(response));
  return response.status === 204 ? null : response.json();
}

/**
 * Rejects with Refused if the server does not accept pages of this origin. Browsers send the
 * origin with a POST, as with a handshake. Without credentials, this one logs nobody out.
 */
export async function tryOrigin() {
  await post("auth/logout", {}, { credentials: "omit" });
}

async function sentence(response) {
  const answer = await response.json().catch(() => null);
  if (typeof answer === "object" && answer !== null && "detail" in answer) {
    if (typeof answer.detail === "string") return answer.detail;
  }
  return `The server refused with HTTP status ${response.status}.`;
}
