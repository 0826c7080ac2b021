import { backoff } from "./backoff.js";
import { closeCode } from "./codes.js";

// Milliseconds from opening a socket to the server's welcome.
const HANDSHAKE_TIMEOUT = 10_000;
// A connection that lived this long (milliseconds) was a good one: backoff starts anew.
const STABLE = 10_000;

const UNREACHABLE = "The server can't be reached.";
const REFUSED =
  "The server answers, but does not accept the connection. It may be starting or full, " +
  "or it does not expect pages from this address (ALLOWED_ORIGINS).";

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
  #timer = 0;
  #failures = 0;
  #heartbeat = 0;
  #openedAt = 0;

  constructor(auth, { onState, onMessage }) {
    this.#auth = auth;
    this.#onState = onState;
    this.#onMessage = onMessage;
    addEventListener("online", () => this.#wake());
    document.addEventListener("visibilitychange", () => document.hidden || this.#wake());
  }

  async connect() {
    if (this.state === "connecting" || this.state === "open") return;
    this.#become("connecting");
    let protocols;
    try {
      protocols = await this.#auth.protocols();
    } catch {
      this.#retry(UNREACHABLE);
      return;
    }
    if (protocols === null) this.#become("expired");
    else this.#open(protocols);
  }

  /** Send a message if the connection is open; after a reconnect, rooms are joined anew. */
  send(message) {
    if (this.state === "open") this.#socket.send(JSON.stringify(message));
  }

  #open(protocols) {
    const url = new URL("ws", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    url.hash = "";
    this.#socket = new WebSocket(url, protocols);
    this.#socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    this.#socket.onclose = ({ code }) => this.#closed(code);
    this.#after(HANDSHAKE_TIMEOUT, () => this.#abandon());
  }

  #receive(message) {
    if (message.type === "welcome") {
      this.#heartbeat = message.heartbeat * 1000;
      this.#openedAt = Date.now();
      this.#become("open");
    }
    if (this.#heartbeat > 0) this.#after(this.#heartbeat, () => this.#ping());
    if (message.type !== "pong") this.#onMessage(message);
  }

  #ping() {
    this.send({ type: "ping" });
    this.#after(this.#heartbeat, () => this.#abandon());
  }

  /** The network is back or somebody looks at the page: don't wait any longer. */
  #wake() {
    if (this.state === "waiting") this.connect();
    else if (this.state === "open" && this.#heartbeat > 0) this.#ping();
  }

  /** A peer that is silent would not answer a close frame either. */
  #abandon() {
    this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#closed(1006);
  }

  #closed(code) {
    clearTimeout(this.#timer);
    const opened = this.state === "open";
    if (opened && Date.now() - this.#openedAt > STABLE) this.#failures = 0;
    const { retry, sentence } = closeCode(code);
    if (!opened && code === 1006) this.#askWhy();
    else if (retry) this.#retry(sentence);
    else this.#become("closed", sentence);
  }

  /** A browser does not tell a page why a handshake failed; HTTP does. */
  async #askWhy() {
    try {
      if (await this.#auth.check()) this.#retry(REFUSED);
      else this.#become("expired");
    } catch {
      this.#retry(UNREACHABLE);
    }
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
