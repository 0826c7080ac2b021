import { backoff } from "./backoff.js";
import { MESSAGE_TOO_BIG, closeCode } from "./codes.js";
import { onWake } from "./wake.js";

const SUBPROTOCOL = "realtime.v1";
// How long (milliseconds) the server may take from the opening of a socket to its welcome.
const HANDSHAKE_TIMEOUT = 10_000;
// How long (milliseconds) a server may take to answer a ping.
const ANSWER_TIMEOUT = 5_000;
// After a connection that lasted this long (milliseconds), the backoff starts again at zero.
const STABLE = 10_000;

const OFFLINE = "This device is offline.";
const UNREACHABLE = "The server can't be reached.";
const REFUSED =
  "The server does not accept the connection: it is starting or full, or you have too many open.";
const FORBIDDEN = "The server refuses this page.";

/**
 * The page's connection to the server: one socket at a time, and another after each.
 *
 *   idle ──▶ connecting ──▶ open        the server has sent its welcome
 *                 ▲ │ │       │
 *                 │ ▼ │       ▼
 *               waiting ◀─────┤         until the next attempt
 *                     │       ▼
 *                     │     closed      until the user reconnects: the close code is final
 *                     ▼
 *                  expired              no credentials: `auth.enter`, then connect
 *
 * `auth.handshake` resolves to the credentials for one socket: its `protocols` and `query`,
 * a `firstFrame` to send when it opens, and `whileOpen`, which is called after the welcome
 * with a function that sends messages, and returns a function to call when the socket is
 * gone. It resolves to null without a user. `auth.check` resolves to whether
 * somebody is. Both reject when the server can't be asked. If the server refuses this page,
 * the error has the `status` 403 and a sentence that says why. Styles of authentication
 * that can't find that out have a general sentence in `auth.REFUSED`. `auth.goOnAs` answers
 * whether this page is for the user in the welcome. If not, a new page is about to replace
 * this one, and nothing is sent.
 */
export class Connection {
  state = "idle";
  #auth;
  #onState;
  #onMessage;
  #onExpired;
  #onTooBig;
  #socket = null;
  // Stops what `whileOpen` started.
  #stop = null;
  // Counts the sockets that are gone, so that a late answer for one of them is ignored.
  #attempt = 0;
  #timer = 0;
  #failures = 0;
  // How often the server refused the credentials since the last welcome.
  #rejections = 0;
  #heartbeat = 0;
  // How long (milliseconds) the answer to the current ping may take; 0 without a ping.
  #patience = 0;
  #openedAt = 0;

  constructor(auth, { onState, onMessage, onExpired, onTooBig }) {
    this.#auth = auth;
    this.#onState = onState;
    this.#onMessage = onMessage;
    this.#onExpired = onExpired;
    this.#onTooBig = onTooBig;
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
    const handshake = await this.#ask(this.#auth.handshake());
    if (handshake === null) this.#expire("");
    else if (handshake !== undefined) this.#open(handshake);
  }

  /** Send a message if the connection is open. Otherwise it is dropped. */
  send(message) {
    if (this.state === "open") this.#socket.send(JSON.stringify(message));
  }

  /** Find out whether the server still answers. */
  check(patience = ANSWER_TIMEOUT) {
    if (this.state !== "open" || (this.#patience > 0 && this.#patience <= patience)) return;
    this.send({ type: "ping" });
    this.#patience = patience;
    this.#after(patience, () => this.#closed(1006));
  }

  #open({ protocols = [], query = {}, firstFrame, whileOpen }) {
    const url = new URL("ws", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    url.search = new URLSearchParams(query);
    url.hash = "";
    const socket = new WebSocket(url, [SUBPROTOCOL, ...protocols]);
    if (firstFrame) socket.onopen = () => socket.send(JSON.stringify(firstFrame));
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data), whileOpen);
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
    this.#socket = socket;
    this.#after(HANDSHAKE_TIMEOUT, () => this.#closed(1006));
  }

  #receive(message, whileOpen) {
    if (message.type === "welcome") {
      if (!this.#auth.goOnAs(message.user)) {
        this.#drop();
        return;
      }
      this.#rejections = 0;
      this.#heartbeat = message.heartbeat * 1000;
      this.#patience = 0;
      this.#openedAt = Date.now();
      this.#become("open");
      this.#stop = whileOpen?.((own) => this.send(own));
    }
    // Only these answer the ping. Others may have been sent before the server stopped.
    if (message.type === "pong" || message.code === "rate_limited") this.#patience = 0;
    if (this.#patience > 0) this.#after(this.#patience, () => this.#closed(1006));
    else if (this.#heartbeat > 0) this.#after(this.#heartbeat, () => this.check(this.#heartbeat));
    else clearTimeout(this.#timer);
    this.#onMessage(message);
  }

  #closed(code, reason = "") {
    const opened = this.state === "open";
    this.#drop();
    if (opened && Date.now() - this.#openedAt > STABLE) this.#failures = 0;
    if (code === MESSAGE_TOO_BIG) this.#onTooBig();
    const { retry, sentence } = closeCode(code);
    if (retry === "once") this.#rejected(sentence, reason);
    else if (!opened && code === 1006) this.#askWhy(this.#auth.REFUSED ?? REFUSED);
    else if (retry) this.#retry(sentence);
    else this.#become("closed", sentence);
  }

  /** Drop a connection that can't work now, and reconnect. */
  #lose(reason) {
    if (this.state !== "connecting" && this.state !== "open") return;
    this.#drop();
    this.#retry(reason);
  }

  /** Drop the socket without waiting for the server, which may not answer a close frame. */
  #drop() {
    clearTimeout(this.#timer);
    this.#attempt += 1;
    this.#stop?.();
    this.#stop = null;
    if (this.#socket === null) return;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = null;
  }

  /** The credentials may have expired. Try once with fresh ones. */
  #rejected(sentence, reason) {
    this.#rejections += 1;
    this.#become("connecting");
    if (this.#rejections === 1) this.#askWhy(sentence, reason);
    else this.#expire(reason);
  }

  /** A browser does not tell a page why a handshake failed; HTTP does. */
  async #askWhy(sentence, reason = "") {
    const isWelcome = await this.#ask(this.#auth.check());
    if (isWelcome) this.#retry(sentence);
    else if (isWelcome !== undefined) this.#expire(reason);
  }

  /** Await an answer of the server. Without one, reconnect or give up, and return undefined. */
  async #ask(answer) {
    const attempt = this.#attempt;
    try {
      const answered = await answer;
      if (attempt === this.#attempt) return answered;
    } catch ({ status, message }) {
      if (attempt !== this.#attempt) return undefined;
      if (status === 403) this.#become("closed", `${FORBIDDEN} ${message}`);
      else this.#retry(unreachable());
    }
    return undefined;
  }

  /** There is no user. The reason is the server's, if it closed the socket. */
  #expire(reason) {
    this.#rejections = 0;
    this.#become("expired");
    this.#onExpired(reason);
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

// The page keeps trying while offline: the server may be on this device.
function unreachable() {
  return navigator.onLine ? UNREACHABLE : OFFLINE;
}
