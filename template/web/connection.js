import { backoff } from "./backoff.js";
import { MESSAGE_TOO_BIG, closeCode } from "./codes.js";
import { onWake } from "./wake.js";

const SUBPROTOCOL = "realtime.v1";
// Milliseconds from opening a socket to the server's welcome.
const HANDSHAKE_TIMEOUT = 10_000;
// In how many milliseconds a server that is there answers when it is asked.
const ANSWER_TIMEOUT = 5_000;
// A connection that lived this long (milliseconds) was a good one: backoff starts anew.
const STABLE = 10_000;

const OFFLINE = "This device is offline.";
const UNREACHABLE = "The server can't be reached.";
const REFUSED =
  "The server does not accept the connection: it is starting or full, or you have too many open.";
const FORBIDDEN = "The server refuses this page.";

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
 *
 * `auth.handshake` resolves to what a socket has to show: `protocols` and `query` with its
 * address, `firstFrame` as soon as it is open, and `whileOpen`, which is called after the
 * welcome with a function that sends, and returns one to call when the socket is gone. It
 * resolves to null when there is nobody to connect for. `auth.check` tells whether there
 * is. Both reject when the server can't be asked, with a `status` of 403 if it refuses this
 * page and a sentence that says why. `auth.REFUSED` is for styles that can't find that out.
 * `auth.goOnAs` tells whether this page is for the user whom the server welcomes. When it
 * is not, the page is about to be replaced, and nothing is sent.
 */
export class Connection {
  state = "idle";
  #auth;
  #onState;
  #onMessage;
  #onExpired;
  #onTooBig;
  #socket = null;
  // Stops what `whileOpen` began.
  #stop = null;
  // Counts the sockets given up, so that what belonged to one is known as stale.
  #attempt = 0;
  #timer = 0;
  #failures = 0;
  // How often credentials were refused since the last welcome.
  #rejections = 0;
  #heartbeat = 0;
  // How long (milliseconds) the answer to a ping may take; 0 when none is due.
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
    // Other messages may have been under way before the server vanished.
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
    this.#stop?.();
    this.#stop = null;
    if (this.#socket === null) return;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = null;
  }

  /** Credentials may have expired, and there may be fresh ones: those get one chance. */
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

  /** What the server answers. Without an answer that matters, this deals with it: undefined. */
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

  /** There is nobody to connect for. The reason is the server's, if it closed the socket. */
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

// Attempts go on offline too: a server on this device, say, can still be reached.
function unreachable() {
  return navigator.onLine ? UNREACHABLE : OFFLINE;
}
