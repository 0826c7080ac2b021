import { backoff } from "./backoff.js";
import { closeCode } from "./codes.js";
import { onWake } from "./wake.js";

// Milliseconds from opening a socket to the server's welcome.
const HANDSHAKE_TIMEOUT = 10_000;
// In how many milliseconds a server that is there answers when it is asked.
const ANSWER_TIMEOUT = 5_000;
// A connection that lived this long (milliseconds) was a good one: backoff starts anew.
const STABLE = 10_000;

const OFFLINE = "This device is offline.";
const UNREACHABLE = "The server can't be reached.";
const REFUSED =
  "The server does not accept the connection: it is starting or full, you have too many " +
  "open, or its ALLOWED_ORIGINS do not name this address.";

/**
 * One socket at a time, for as long as the page lives.
 *
 *   idle ──▶ connecting ──▶ open        welcome received
 *                 ▲ │ │       │
 *                 │ ▼ │       ▼
 *               waiting ◀─────┤         until the next attempt
 *                     │       ▼
 *                     │     closed      for good: the close code is terminal
 *                     ▼
 *                  expired              the credentials are: `auth.enter`, then connect
 */
export class Connection {
  state = "idle";
  #auth;
  #onState;
  #onMessage;
  #socket = null;
  // Counts the sockets given up, so that what belonged to one is known as stale.
  #attempt = 0;
  #timer = 0;
  #failures = 0;
  #heartbeat = 0;
  // How long (milliseconds) the answer to a ping may take; 0 when none is due.
  #patience = 0;
  #openedAt = 0;

  constructor(auth, { onState, onMessage }) {
    this.#auth = auth;
    this.#onState = onState;
    this.#onMessage = onMessage;
    addEventListener("offline", () => this.#lose(OFFLINE));
    addEventListener("online", () => {
      this.#failures = 0;
    });
    // With an open socket, a browser may not keep the page for the back button.
    addEventListener("pagehide", () => this.#lose(""));
    onWake(() => {
      if (this.state === "waiting") this.connect();
      else this.check();
    });
  }

  async connect() {
    if (this.state === "connecting" || this.state === "open") return;
    this.#become("connecting");
    const attempt = this.#attempt;
    const protocols = await this.#auth.protocols().catch(() => undefined);
    if (attempt !== this.#attempt) return;
    if (protocols === undefined) this.#retry(unreachable());
    else if (protocols === null) this.#become("expired");
    else this.#open(protocols);
  }

  /** Send a message if the connection is open; after a reconnect, rooms are joined anew. */
  send(message) {
    if (this.state === "open") this.#socket.send(JSON.stringify(message));
  }

  /** Find out whether the server is still there. */
  check(patience = ANSWER_TIMEOUT) {
    if (this.state !== "open" || (this.#patience > 0 && this.#patience <= patience)) return;
    this.send({ type: "ping" });
    this.#patience = patience;
    this.#after(patience, () => this.#closed(1006));
  }

  #open(protocols) {
    const url = new URL("ws", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    url.hash = "";
    this.#socket = new WebSocket(url, protocols);
    this.#socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    this.#socket.onclose = ({ code }) => this.#closed(code);
    this.#after(HANDSHAKE_TIMEOUT, () => this.#closed(1006));
  }

  #receive(message) {
    if (message.type === "welcome") {
      this.#heartbeat = message.heartbeat * 1000;
      this.#patience = 0;
      this.#openedAt = Date.now();
      this.#become("open");
    }
    // Other messages may have been under way before the server vanished.
    if (message.type === "pong" || message.code === "rate_limited") this.#patience = 0;
    if (this.#patience > 0) this.#after(this.#patience, () => this.#closed(1006));
    else if (this.#heartbeat > 0) this.#after(this.#heartbeat, () => this.check(this.#heartbeat));
    else clearTimeout(this.#timer);
    this.#onMessage(message);
  }

  #closed(code) {
    const opened = this.state === "open";
    this.#drop();
    if (opened && Date.now() - this.#openedAt > STABLE) this.#failures = 0;
    const { retry, sentence } = closeCode(code);
    if (!opened && code === 1006) this.#askWhy();
    else if (retry) this.#retry(sentence);
    else this.#become("closed", sentence);
  }

  /** Give up a connection that is of no use now, and come back. */
  #lose(reason) {
    if (this.state !== "connecting" && this.state !== "open") return;
    this.#drop();
    this.#retry(reason);
  }

  /** Be done with the socket. A peer that is silent would not answer a close frame either. */
  #drop() {
    clearTimeout(this.#timer);
    this.#attempt += 1;
    if (this.#socket === null) return;
    this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = null;
  }

  /** A browser does not tell a page why a handshake failed; HTTP does. */
  async #askWhy() {
    const attempt = this.#attempt;
    const isWelcome = await this.#auth.check().catch(() => undefined);
    if (attempt !== this.#attempt) return;
    if (isWelcome === undefined) this.#retry(unreachable());
    else if (isWelcome) this.#retry(REFUSED);
    else this.#become("expired");
  }

  #retry(reason) {
    const delay = backoff(this.#failures);
    this.#failures += 1;
    this.#become("waiting", reason, Date.now() + delay);
    this.#after(delay, () => this.connect());
  }

  #become(state, reason = "", retryAt = null) {
    clearTimeout(this.#timer);
    this.state = state;
    this.#onState({ state, reason, retryAt });
  }

  #after(milliseconds, action) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(action, milliseconds);
  }
}

// Attempts go on offline too: a server on this device, say, can still be reached.
function unreachable() {
  return navigator.onLine ? UNREACHABLE : OFFLINE;
}
