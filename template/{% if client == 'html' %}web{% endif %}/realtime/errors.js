import { sentence } from "./protocol.js";

/** The server did not carry out a call. The message is a sentence for people. */
export class ServerError extends Error {
  code;
  detail;

  constructor(code, detail) {
    super(sentence(detail));
    this.name = "ServerError";
    this.code = code;
    this.detail = detail;
  }
}

/** There is no connection, or it was lost before the answer to a call came. */
export class Disconnected extends Error {
  constructor() {
    super("The connection was lost before the server answered.");
    this.name = "Disconnected";
  }
}
