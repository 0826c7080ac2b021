// The handshake carries an access token among the subprotocols, because browsers do not let
// scripts set its headers.

import { check, freshTokens, keepFresh } from "./tokens.js";

export { login, logout, register, whoAmI } from "./tokens.js";

export const credentials = {
  check,

  /** The subprotocol, or null without a session. */
  async handshake() {
    const tokens = await freshTokens();
    return (
      tokens && {
        protocols: [`bearer.${tokens.access_token}`],
        whileOpen: (send) => keepFresh(tokens, send),
      }
    );
  },
};
