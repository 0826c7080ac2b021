// The handshake carries the session cookie. The browser adds it by itself.

export { check, enter, goOnAs } from "./sessions.js";

/** The browser adds the cookie. */
export async function handshake() {
  return {};
}
