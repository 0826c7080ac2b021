// Why a socket closed, and whether to reconnect; "once" means one more attempt with fresh
// credentials. RFC 6455 section 7.4.1, the IANA registry of close codes, and our own.

export const ABNORMAL_CLOSURE = 1006;
export const MESSAGE_TOO_BIG = 1009;
const CODES = {
  // Normal closure.
  1000: { retry: false, sentence: "The server ended the connection." },
  // Going away.
  1001: { retry: true, sentence: "The server is going away." },
  // Protocol error.
  1002: { retry: false, sentence: "The server did not understand this page." },
  // Unsupported data.
  1003: { retry: false, sentence: "The server did not accept what this page sent." },
  // No status in the close frame.
  1005: { retry: true, sentence: "The connection ended." },
  [ABNORMAL_CLOSURE]: { retry: true, sentence: "The connection was lost." },
  // Invalid payload.
  1007: { retry: false, sentence: "The server could not read what this page sent." },
  // Policy violation.
  1008: {
    retry: false,
    sentence:
      "The server closed this connection because this page broke a rule: it may have sent too much.",
  },
  [MESSAGE_TOO_BIG]: { retry: true, sentence: "A message was too big for the server." },
  // Internal error.
  1011: { retry: true, sentence: "Something went wrong in the server." },
  // Service restart.
  1012: { retry: true, sentence: "The server is restarting." },
  // Try again later.
  1013: { retry: true, sentence: "The server is busy, or this connection was too slow for it." },
  // Not authenticated.
  4401: { retry: "once", sentence: "The server asks again who you are." },
  // Not allowed.
  4403: { retry: false, sentence: "The server does not allow you this connection." },
};

/** What to do after a close code. Those that the table does not have are retried up to 4399. */
export function closeCode(code) {
  return (
    CODES[code] ?? {
      retry: code >= 4000 && code <= 4399,
      sentence: `The server closed the connection with code ${code}.`,
    }
  );
}
