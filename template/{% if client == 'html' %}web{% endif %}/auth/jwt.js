// The handshake carries an access token among the subprotocols, because browsers do not let
// scripts set its headers.

import { freshTokens, keepFresh } from "./tokens.js";

export { check, enter, goOnAs } from "./tokens.js";

/** The subprotocol, or null without a session. Rejects as `check` does. */
export async function handshake() {
  const tokens = await freshTokens();
  if (tokens === null) return null;
  return {
    protocols: [`bearer.${tokens.access_token}`],
    whileOpen: (send) => keepFresh(tokens, send),
  };
}
