// Why a socket closed, and whether to reconnect; "once" means one more attempt with fresh
// credentials. RFC 6455 section 7.4.1, the IANA registry of close codes, and our own.

export const MESSAGE_TOO_BIG = 1009;

const CODES = {
  1000: { name: "normal closure", retry: false, sentence: "The server ended the connection." },
  1001: { name: "going away", retry: true, sentence: "The server is going away." },
  1002: { name: "protocol error", retry: false, sentence: "The server did not understand this page." },
  1003: { name: "unsupported data", retry: false, sentence: "The server did not accept what this page sent." },
  1005: { name: "no status", retry: true, sentence: "The connection ended." },
  1006: { name: "abnormal closure", retry: true, sentence: "The connection was lost." },
  1007: { name: "invalid payload", retry: false, sentence: "The server could not read what this page sent." },
  1008: { name: "policy violation", retry: false, sentence: "The server closed this connection because this page broke a rule: it may have sent too much." },
  [MESSAGE_TOO_BIG]: { name: "message too big", retry: true, sentence: "A message was too big for the server." },
  1011: { name: "internal error", retry: true, sentence: "Something went wrong in the server." },
  1012: { name: "service restart", retry: true, sentence: "The server is restarting." },
  1013: { name: "try again later", retry: true, sentence: "The server is busy, or this connection was too slow for it." },
  4401: { name: "not authenticated", retry: "once", sentence: "The server asks again who you are." },
  4403: { name: "not allowed", retry: false, sentence: "The server does not allow you this connection." },
};

/** The name of a close code, whether to retry after it, and a sentence for people. */
export function closeCode(code) {
  return (
    CODES[code] ?? {
      name: "unknown",
      retry: code >= 4000 && code <= 4399,
      sentence: `The server closed the connection with code ${code}.`,
    }
  );
}
