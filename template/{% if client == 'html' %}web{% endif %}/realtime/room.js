import { backoff } from "./backoff.js";
import { Earlier } from "./earlier.js";
import { entryOf, keyOf } from "./entry.js";
import { Changes, Listeners } from "./listeners.js";
import { Log } from "./log.js";
import { Members } from "./members.js";
import { Outbox } from "./outbox.js";
import { newId, secondsToWait, sentence } from "./protocol.js";
import { Signals } from "./signals.js";

// After these errors, the client tries again to enter a room.
const KEEPS_TRYING = {
  unavailable: "The room can't be entered at the moment. This page keeps trying.",
  internal: "Something went wrong in the server. This page keeps trying.",
};
const INTERNAL = "Something went wrong in the server. Try again in a moment.";
const EVICTED = "You were removed from this room.";
const TOO_BIG = "This message, or one sent along with it, is too big for the server.";
/**
 * A room as this client knows it: its position in the sequence of messages, its log, and
 * what waits to be sent.
 *
 *   outside ───▶ joining ───▶ replaying ───▶ inside
 *    ▲   ▲        │   │           │             │
 *    │   │        │   └─ missed ──┴── resync ───┤     join again: messages were lost
 *    │   └────────│─────────────────────────────┘
 *    │            ▼
 *    └───────── refused                               until `tryAgain`
 *
 * `left` with the reason "evicted" leads to the state "evicted" from any of them. The room
 * stays there, over reconnects too, until the user sends a message again (`retry`).
 *
 * Messages are shown in the order of their offsets, each once. After `joined` come the
 * missed messages (or the recent ones, in a room that is new to the client), then the live
 * ones. Offsets grow, but not always by one: the server sends `resync` when messages were
 * lost. Messages that arrive while the client joins are ignored, because the replay has them
 * too. The user's own messages are sent after the replay, because one that seemed lost may
 * be in it.
 */
export class RoomSession {
  name;
  state = "outside";
  isKnown = false;
  #host;
  #changes = new Changes();
  #onMessage = new Listeners();
  #onSignal = new Listeners();
  #members = new Members();
  #log = new Log();
  #outbox;
  #earlier;
  #signals;
  #entries = null;
  // How often in a row the server refused to let this client in.
  #refusals = 0;
  // Why nothing can be published here, or "".
  #forbidden = "";
  // The position of the last message here; null before the first one.
  #position = null;
  // The room's position when this client joined it: the replay ends there.
  #joinedAt = { epoch: "", offset: 0 };
  #pause;

  constructor(name, host) {
    this.name = name;
    this.#host = host;
    this.#signals = new Signals(name);
    const onOutbox = () => {
      this.#changed();
      host.onUnsent();
    };
    this.#outbox = new Outbox(name, onOutbox, host.onSilence);
    const onEarlier = () => {
      this.#changed();
      host.wake();
    };
    this.#earlier = new Earlier(name, onEarlier);
  }

  // --- What the page sees -----------------------------------------------------

  get entries() {
    this.#entries ??= [...this.#log.entries, ...this.#outbox.entries];
    return this.#entries;
  }

  get members() {
    return this.#members.list;
  }

  get memberCount() {
    return this.#members.count;
  }

  get unsent() {
    return this.#outbox.size;
  }

  get hasEarlier() {
    return this.#earliest !== null;
  }

  get isLoading() {
    return this.#earlier.before !== null;
  }

  get version() {
    return this.#changes.version;
  }

  subscribe = this.#changes.subscribe;

  onMessage(listener) {
    return this.#onMessage.add(listener);
  }

  onSignal(listener) {
    return this.#onSignal.add(listener);
  }

  loadEarlier() {
    return this.#earlier.load(this.#earliest);
  }

  /** Nobody looks at the room any more. */
  blur() {
    this.#log.shrink();
    this.#earlier.end();
  }

  // --- What is sent -----------------------------------------------------------

  publish(event, data) {
    const id = newId();
    const sender = this.#host.user();
    const sent_at = new Date().toISOString();
    const message = { type: "message", room: this.name, id, offset: 0, event, data };
    const entry = entryOf({ ...message, sender, sent_at }, true, true);
    this.#outbox.add({ ...entry, offset: null, state: "pending" });
    this.#failIfForbidden();
    this.#host.wake();
    return id;
  }

  signal(event, data) {
    if (this.state === "inside") this.#signals.add(event, data);
    this.#host.wake();
  }

  retry(key) {
    if (this.#isShut) this.#become("outside");
    this.#outbox.retry(key);
    this.#host.wake();
  }

  discard(key) {
    this.#outbox.take(key);
  }

  notice(text) {
    this.#log.notice(text);
    this.#changed();
  }

  /** The next message to send, or null. It counts as sent. */
  next() {
    if (this.state === "outside") {
      this.#become("joining");
      const since = this.#position;
      return { type: "join", room: this.name, ...(since && { since }) };
    }
    if (this.state !== "inside") return null;
    return this.#outbox.next() ?? this.#earlier.next() ?? this.#signals.next();
  }

  // --- The connection ---------------------------------------------------------

  /** The connection is gone, and with it the membership. */
  disconnected() {
    clearTimeout(this.#pause);
    this.#signals.clear();
    this.#outbox.disconnected();
    this.#earlier.disconnected();
    if (this.state !== "evicted") this.#become("outside");
  }

  /** One of the messages that wait for an answer was too big. */
  tooBig() {
    this.#outbox.fail(TOO_BIG, true);
  }

  // --- What the server says ---------------------------------------------------

  /** Handle a message of the server about this room. */
  receive(message) {
    switch (message.type) {
      case "joined":
        this.#joined(message);
        break;
      case "message":
        this.#message(message);
        break;
      case "history":
        this.#history(message);
        break;
      case "presence":
        this.#members.presence(message);
        this.#changed();
        break;
      case "signal":
        this.#signal(message);
        break;
      case "resync":
        // Messages are missing: ask for those after the last one that is here.
        if (this.#isInside) this.#become("outside");
    }
  }

  #joined({ epoch, offset, recovered, count, members }) {
    // An error that only seemed to be the answer to the join may have come before.
    if (this.state !== "joining" && !this.#isShut) return;
    this.#refusals = 0;
    this.#forbidden = "";
    this.#members.set(members, count);
    const since = this.#position;
    if (since !== null && !(recovered && epoch === since.epoch)) {
      this.#position = null;
      this.#log.gap(since.offset);
      this.#become("outside");
      return;
    }
    this.#log.begin(epoch, offset);
    this.#joinedAt = { epoch, offset };
    this.#become("replaying");
    if (offset === (since?.offset ?? 0)) this.replayed();
  }

  /** The replay is complete. */
  replayed() {
    if (this.state !== "replaying") return;
    this.isKnown = true;
    // The last message may be one that nobody can read.
    if ((this.#position?.offset ?? -1) < this.#joinedAt.offset) this.#position = this.#joinedAt;
    this.#become("inside");
  }

  #message(message) {
    if (!this.#isInside) return;
    const { id, offset } = message;
    // A late one may be the answer to an own message that the room had already.
    if (offset > (this.#position?.offset ?? -1)) {
      this.#position = { epoch: this.#joinedAt.epoch, offset };
    }
    const own = this.#outbox.take(keyOf(id)) !== undefined || this.#host.isOwn(message);
    const entry = entryOf(message, own, this.isKnown);
    const isAdded = this.#log.add(entry);
    this.#changed();
    if (isAdded && entry.isNew) this.#onMessage.notify(entry);
    if (offset >= this.#joinedAt.offset) this.replayed();
  }

  /** A signal. Those of the user's other tabs count for nothing. */
  #signal(signal) {
    if (this.#host.isOwn(signal)) return;
    const { event, data, sender = null } = signal;
    this.#onSignal.notify({ event, data, sender });
  }

  /** A page of earlier messages. */
  #history({ epoch, messages, complete }) {
    const { before } = this.#earlier;
    if (before === null) return;
    // The answer to an earlier request, which was asked again.
    if (messages.some(({ offset }) => offset >= before)) return;
    if (epoch === this.#position?.epoch && before === this.#earliest) {
      const earlier = messages.map((it) => entryOf(it, this.#host.isOwn(it), false));
      this.#log.prepend(earlier, complete || messages.length === 0);
    }
    this.#earlier.end();
  }

  /** The application removed the user from the room. */
  evicted() {
    this.#become("evicted");
    this.#signals.clear();
    this.#earlier.end();
    this.#members.set([]);
    this.notice(EVICTED);
    this.#forbidden = EVICTED;
    this.#failIfForbidden();
  }

  tryAgain() {
    if (this.state === "refused") this.#become("outside");
  }

  /** The server did not carry out what this client has sent. */
  error({ code, detail, ref }) {
    if (ref !== undefined) this.#publishFailed(ref, code, detail);
    else if (this.state === "joining") this.#joinFailed(code, detail);
    // The application has no such signal, or does not allow it here.
    else if (["invalid", "forbidden", "refused"].includes(code)) this.#signals.refused();
    else if (code === "rate_limited") this.#earlier.retry(secondsToWait(detail) * 1000);
    else this.#earlier.end();
  }

  #publishFailed(id, code, detail) {
    const reason = code === "internal" ? INTERNAL : sentence(detail);
    if (!this.#outbox.refused(id, code, reason)) return;
    const entry = this.#outbox.take(keyOf(id));
    if (entry !== undefined) this.#log.add({ ...entry, state: "sent" });
    this.#changed();
  }

  #joinFailed(code, detail) {
    const seconds = secondsToWait(detail);
    if (code === "rate_limited" && seconds === 0) {
      this.#become("outside");
      return;
    }
    this.#become("refused");
    if (code === "rate_limited") {
      this.notice(tooMuch(seconds));
      this.#tryAfter(seconds * 1000);
      return;
    }
    const reason = KEEPS_TRYING[code] ?? sentence(detail);
    if (this.#refusals === 0) this.notice(reason);
    this.#refusals += 1;
    if (code in KEEPS_TRYING) this.#tryAfter(backoff(this.#refusals));
    // With the others, it is no use to wait, or only until the user has left another room.
    this.#forbidden = code === "forbidden" || code === "refused" ? reason : "";
    this.#failIfForbidden();
  }

  #tryAfter(milliseconds) {
    clearTimeout(this.#pause);
    this.#pause = setTimeout(() => {
      this.tryAgain();
      this.#host.wake();
    }, milliseconds);
  }

  // --- The state --------------------------------------------------------------

  /** Whether messages of the server have a place in the log. */
  get #isInside() {
    return this.state === "replaying" || this.state === "inside";
  }

  /** Whether the server does not let the user in. */
  get #isShut() {
    return this.state === "refused" || this.state === "evicted";
  }

  /** The offset before which there may be messages that can be loaded, or null. */
  get #earliest() {
    return this.isKnown && this.state !== "evicted" ? this.#log.earliest : null;
  }

  /** A message does not wait in a room that the user may not enter. */
  #failIfForbidden() {
    if (this.#isShut && this.#forbidden !== "") this.#outbox.fail(this.#forbidden);
  }

  #become(state) {
    this.state = state;
    this.#changed();
  }

  #changed() {
    this.#entries = null;
    this.#changes.changed();
  }
}

function tooMuch(seconds) {
  const time = seconds === 1 ? "1 second" : `${seconds} seconds`;
  return `The server does not send so much at once. This page tries again by itself in ${time}.`;
}
