// Everybody is a guest. The server chooses the name.

import { addressOf } from "./server.js";

// How long (milliseconds) the server may take to answer.
const TIMEOUT = 10_000;

/** Guests need no credentials, and are always welcome. */
export const credentials = {
  refused:
    "The server does not accept the connection: it is starting or full, you have too many " +
    "open, or its ALLOWED_ORIGINS do not name this address.",

  handshake() {
    return Promise.resolve({});
  },

  async check() {
    const signal = AbortSignal.timeout(TIMEOUT);
    // A page of another origin may ask, but not read the answer.
    const response = await fetch(addressOf("healthz"), { mode: "no-cors", signal });
    if (!response.ok && response.type !== "opaque") throw new Error(`HTTP ${response.status}`);
    return true;
  },
};
