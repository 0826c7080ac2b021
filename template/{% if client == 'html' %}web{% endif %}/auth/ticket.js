// The socket's URL carries a ticket, which is good for one handshake.

import { Refused, post } from "./accounts/http.js";
import { WITH_COOKIE, check } from "./sessions.js";

export { login, logout, register, whoAmI } from "./sessions.js";

export const credentials = {
  check,

  /** A new ticket, or null without a session. */
  async handshake() {
    try {
      const { ticket } = await post("auth/ticket", {}, WITH_COOKIE);
      return { query: { ticket } };
    } catch (error) {
      if (error instanceof Refused && error.status === 401) return null;
      throw error;
    }
  },
};
