// The server accepts every socket. The first message carries an access token.

import { freshTokens, keepFresh } from "./tokens.js";

export { check, enter, goOnAs } from "./tokens.js";

/** The first message, or null without a session. Rejects as `check` does. */
export async function handshake() {
  const tokens = await freshTokens();
  if (tokens === null) return null;
  return {
    firstFrame: { type: "auth", token: tokens.access_token },
    whileOpen: (send) => keepFresh(tokens, send),
  };
}
