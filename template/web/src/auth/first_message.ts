// The server accepts every socket. The first message carries an access token.

import type { Credentials } from "../realtime/index.js";
import { check, freshTokens, keepFresh } from "./tokens.js";

export { login, logout, register, whoAmI } from "./tokens.js";

export const credentials: Credentials = {
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
