// The socket opens with the session's cookie, which the browser sends by itself.

export { check, enter, goOnAs } from "./session.js";

/** Nothing to show. */
export async function handshake() {
  return {};
}
