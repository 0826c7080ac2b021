// The socket opens with an access token among the subprotocols: a browser lets scripts
// set no headers on a handshake.

import { freshTokens, keepFresh } from "./tokens.js";

export { check, enter, goOnAs } from "./tokens.js";

/** What to show, or null without a session. Rejects as `check` does. */
export async function handshake() {
  const tokens = await freshTokens();
  if (tokens === null) return null;
  return {
    protocols: [`bearer.${tokens.access_token}`],
    whileOpen: (send) => keepFresh(tokens, send),
  };
}
