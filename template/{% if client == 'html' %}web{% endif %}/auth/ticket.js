// The socket's URL carries a ticket, which is good for one handshake.

import { Refused, post } from "./accounts/http.js";

export { check, enter, goOnAs } from "./sessions.js";

/** A new ticket, or null without a session. Rejects as `check` does. */
export async function handshake() {
  try {
    const { ticket } = await post("auth/ticket", {});
    return { query: { ticket } };
  } catch (error) {
    if (error instanceof Refused && error.status === 401) return null;
    throw error;
  }
}
