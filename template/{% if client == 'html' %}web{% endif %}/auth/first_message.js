// The server accepts every socket. The first message carries an access token.

import { check, freshTokens, keepFresh } from "./tokens.js";

export { login, logout, register, whoAmI } from "./tokens.js";

export const credentials = {
  check,

  /** The first message, or null without a session. */
  async handshake() {
    const tokens = await freshTokens();
    return (
      tokens && {
        firstFrame: { type: "auth", token: tokens.access_token },
        whileOpen: (send) => keepFresh(tokens, send),
      }
    );
  },
};
