import { backoff } from "./backoff.js";
import { ABNORMAL_CLOSURE, MESSAGE_TOO_BIG, closeCode } from "./codes.js";
import { readFrame } from "./protocol.js";
import { isOffline, watchDevice } from "./wake.js";

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
const SOMEBODY_ELSE = "This page is for another user.";
/**
 * The connection to the server: one socket at a time, and another after each.
 *
 *   idle ──▶ connecting ──▶ open        the server has sent its welcome
 *                 ▲ │ │       │
 *                 │ ▼ │       ▼
 *               waiting ◀─────┤         until the next attempt
 *                     │       ▼
 *                     │     closed      until the user reconnects: the close code is final
 *                     ▼
 *                  expired              there is no user: `connect` when there is
 *
 * `close` leads to "idle" from any of them.
 */
export class Connection {
  status = { state: "idle", reason: "", retryAt: null };
  #credentials;
  #options;
  #listeners;
  #socket = null;
  // Stops what `whileOpen` started.
  #stop;
  // Stops watching the device.
  #unwatch = null;
  // Counts the sockets that are gone, so that a late answer for one of them is ignored.
  #attempt = 0;
  #timer;
  #failures = 0;
  // How often the server refused the credentials since the last welcome.
  #rejections = 0;
  #heartbeat = 0;
  // How long (milliseconds) the answer to the current ping may take; 0 without a ping.
  #patience = 0;
  #openedAt = 0;

  constructor(credentials, options, listeners) {
    this.#credentials = credentials;
    this.#options = options;
    this.#listeners = listeners;
  }

  get isOpen() {
    return this.status.state === "open";
  }

  async connect() {
    const { state } = this.status;
    if (state === "connecting" || state === "open") return;
    this.#unwatch ??= this.#watch();
    this.#become("connecting");
    const handshake = await this.#ask(this.#credentials.handshake());
    if (handshake === null) this.#expire("");
    else if (handshake !== undefined) this.#open(handshake);
  }

  /** End the connection for good. */
  close() {
    this.#unwatch?.();
    this.#unwatch = null;
    this.#drop();
    this.#failures = 0;
    this.#rejections = 0;
    this.#become("idle");
  }

  /** Send a message if the connection is open. Otherwise it is dropped. */
  send(message) {
    if (this.isOpen) this.#socket?.send(JSON.stringify(message));
  }

  /** Find out whether the server still answers. */
  check(patience = ANSWER_TIMEOUT) {
    if (!this.isOpen || (this.#patience > 0 && this.#patience <= patience)) return;
    this.send({ type: "ping" });
    this.#patience = patience;
    this.#expectWithin(patience);
  }

  #watch() {
    const wake = () => {
      if (this.status.state === "waiting") void this.connect();
      else this.check();
    };
    return watchDevice({
      wake,
      online: () => {
        this.#failures = 0;
        wake();
      },
      offline: () => {
        this.#lose(OFFLINE);
      },
      // With an open socket, a browser may not keep the page for the back button.
      pagehide: () => {
        this.#lose("");
      },
    });
  }

  #open({ protocols = [], query = {}, firstFrame, whileOpen }) {
    const socket = new WebSocket(this.#address(query), [SUBPROTOCOL, ...protocols]);
    socket.onopen = () => {
      if (firstFrame) socket.send(JSON.stringify(firstFrame));
    };
    socket.onmessage = ({ data }) => {
      const message = readFrame(data);
      // What comes before the welcome can't be meant for this client.
      if (this.isOpen && message !== null) this.#receive(message);
      else if (message?.type === "welcome") this.#welcome(message, whileOpen);
    };
    socket.onclose = ({ code, reason }) => {
      this.#closed(code, reason);
    };
    this.#socket = socket;
    this.#expectWithin(HANDSHAKE_TIMEOUT);
  }

  #address(query) {
    const page = typeof document === "undefined" ? undefined : document.baseURI;
    const url = new URL(this.#options.url ?? "ws", page);
    url.protocol = url.protocol.replace("http", "ws");
    url.hash = "";
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    return url;
  }

  #welcome(message, whileOpen) {
    if (this.#options.mayGoOnAs?.(message.user) === false) {
      this.#drop();
      this.#become("closed", SOMEBODY_ELSE);
      return;
    }
    this.#rejections = 0;
    this.#heartbeat = message.heartbeat * 1000;
    this.#patience = 0;
    this.#openedAt = Date.now();
    this.#become("open");
    this.#stop = whileOpen?.((own) => {
      this.send(own);
    });
    this.#receive(message);
  }

  #receive(message) {
    // Only these answer the ping. Others may have been sent before the server stopped.
    const isAnswer = message.type === "error" && message.code === "rate_limited";
    if (message.type === "pong" || isAnswer) this.#patience = 0;
    if (this.#patience > 0) this.#expectWithin(this.#patience);
    else this.#expectHeartbeat();
    this.#listeners.onMessage(message);
  }

  #closed(code, reason = "") {
    const opened = this.isOpen;
    this.#drop();
    if (opened && Date.now() - this.#openedAt > STABLE) this.#failures = 0;
    if (code === MESSAGE_TOO_BIG) this.#listeners.onTooBig();
    const { retry, sentence } = closeCode(code);
    if (retry === "once") this.#rejected(sentence, reason);
    else if (!opened && code === ABNORMAL_CLOSURE) {
      void this.#askWhy(this.#credentials.refused ?? REFUSED);
    } else if (retry) this.#retry(sentence);
    else this.#become("closed", sentence);
  }

  /** Drop a connection that can't work now, and reconnect. */
  #lose(reason) {
    const { state } = this.status;
    if (state !== "connecting" && state !== "open") return;
    this.#drop();
    this.#retry(reason);
  }

  /** Drop the socket without waiting for the server, which may not answer a close frame. */
  #drop() {
    clearTimeout(this.#timer);
    this.#attempt += 1;
    this.#stop?.();
    this.#stop = undefined;
    if (this.#socket === null) return;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = null;
  }

  /** The credentials may have expired. Try once with fresh ones. */
  #rejected(sentence, reason) {
    this.#rejections += 1;
    this.#become("connecting");
    if (this.#rejections === 1) void this.#askWhy(sentence, reason);
    else this.#expire(reason);
  }

  /** A browser does not tell a page why a handshake failed; HTTP does. */
  async #askWhy(sentence, reason = "") {
    const isKnown = await this.#ask(this.#credentials.check());
    if (isKnown) this.#retry(sentence);
    else if (isKnown !== undefined) this.#expire(reason);
  }

  /** Await an answer of the server. Without one, reconnect or give up, and return undefined. */
  async #ask(answer) {
    const attempt = this.#attempt;
    try {
      const answered = await answer;
      if (attempt === this.#attempt) return answered;
    } catch (error) {
      if (attempt !== this.#attempt) return undefined;
      const { status, message } = error;
      if (status === 403) this.#become("closed", `${FORBIDDEN} ${message}`);
      // The page keeps trying while offline: the server may be on this device.
      else this.#retry(isOffline() ? OFFLINE : UNREACHABLE);
    }
    return undefined;
  }

  #expire(reason) {
    this.#rejections = 0;
    this.#become("expired");
    this.#listeners.onExpired(reason);
  }

  #retry(reason) {
    const delay = backoff(this.#failures);
    this.#failures += 1;
    this.#become("waiting", reason, Date.now() + delay);
    this.#timer = setTimeout(() => void this.connect(), delay);
  }

  #become(state, reason = "", retryAt = null) {
    clearTimeout(this.#timer);
    this.status = { state, reason, retryAt };
    this.#listeners.onStatus(this.status);
  }

  /** Ask the server for a sign of life when it has been silent for a while. */
  #expectHeartbeat() {
    clearTimeout(this.#timer);
    if (this.#heartbeat === 0) return;
    this.#timer = setTimeout(() => {
      this.check(this.#heartbeat);
    }, this.#heartbeat);
  }

  #expectWithin(milliseconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#closed(ABNORMAL_CLOSURE);
    }, milliseconds);
  }
}
