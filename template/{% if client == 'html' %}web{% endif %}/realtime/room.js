import { Earlier } from "./earlier.js";
import { Changes, Listeners } from "./listeners.js";
import { Log } from "./log.js";
import { Members } from "./members.js";
import { Outbox } from "./outbox.js";
import { newId } from "./protocol.js";

const EVICTED = "You were removed from this room.";
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
  // How often in a row the server refused to let this client in.
  refusals = 0;
  #host;
  #changes = new Changes();
  #messages = new Listeners();
  #signals = new Listeners();
  #members = new Members();
  #log = new Log();
  #outbox;
  #earlier;
  // The newest signal of each event that waits to be sent, and the events that the server
  // does not take as signals here.
  #waitingSignals = new Map();
  #mutedSignals = new Set();
  #lastSignal = "";
  #entries = null;
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
    const onOutbox = () => {
      this.#changed();
      host.onUnsent();
    };
    this.#outbox = new Outbox(name, onOutbox, host.onSilence);
    this.#earlier = new Earlier(name, () => {
      this.#changed();
      host.wake();
    });
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
    return this.isKnown && this.state !== "evicted" && this.#log.earliest !== null;
  }

  get isLoading() {
    return this.#earlier.isLoading;
  }

  get version() {
    return this.#changes.version;
  }

  subscribe = this.#changes.subscribe;

  onMessage(listener) {
    return this.#messages.add(listener);
  }

  onSignal(listener) {
    return this.#signals.add(listener);
  }

  loadEarlier() {
    const before = this.#log.earliest;
    return this.hasEarlier && before !== null ? this.#earlier.load(before) : Promise.resolve();
  }

  /** Nobody looks at the room any more. */
  blur() {
    this.#earlier.end();
    this.#log.shrink();
    this.#changed();
  }

  // --- What is sent -----------------------------------------------------------

  publish(event, data) {
    const id = newId();
    this.#outbox.add({
      kind: "message",
      key: keyOf(id),
      id,
      offset: null,
      event,
      data,
      sender: this.#host.user,
      own: true,
      sentAt: new Date(),
      isNew: true,
      state: "pending",
      reason: "",
    });
    this.#refuseIfForbidden();
    this.#host.wake();
    return id;
  }

  signal(event, data) {
    if (this.state !== "inside" || this.#mutedSignals.has(event)) return;
    this.#waitingSignals.set(event, data);
    this.#host.wake();
  }

  retry(key) {
    if (this.state === "refused" || this.state === "evicted") this.#become("outside");
    this.#outbox.retry(key);
    this.#host.wake();
  }

  discard(key) {
    this.#outbox.discard(key);
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
    return this.#outbox.next() ?? this.#earlier.next() ?? this.#nextSignal();
  }

  #nextSignal() {
    for (const [event, data] of this.#waitingSignals) {
      this.#waitingSignals.delete(event);
      this.#lastSignal = event;
      return { type: "signal", room: this.name, event, data };
    }
    return null;
  }

  // --- The connection ---------------------------------------------------------

  /** The connection is gone, and with it the membership. */
  disconnected() {
    clearTimeout(this.#pause);
    this.#waitingSignals.clear();
    this.#mutedSignals.clear();
    this.#outbox.disconnected();
    this.#earlier.unheard();
    if (this.state !== "evicted") this.#become("outside");
  }

  /** One of the messages that wait for an answer was too big. */
  tooBig() {
    this.#outbox.tooBig();
  }

  // --- What the server says ---------------------------------------------------

  joined({ epoch, offset, recovered, count, members }) {
    // An error that only seemed to be the answer to the join may have come before.
    if (!["joining", "refused", "evicted"].includes(this.state)) return;
    this.refusals = 0;
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

  /** A message; `own` says whether the user sent it. */
  message(message, own) {
    if (!this.#isInLog) return;
    const { offset } = message;
    // A late one may be the answer to an own message that the room had already.
    if (offset > (this.#position?.offset ?? -1)) {
      this.#position = { epoch: this.#joinedAt.epoch, offset };
    }
    this.#show(message, own);
    if (this.state === "replaying" && offset >= this.#joinedAt.offset) this.replayed();
  }

  /** A signal of another user, or of the application. */
  received(signal) {
    const { event, data, sender = null } = signal;
    this.#signals.notify({ event, data, sender });
  }

  /** A page of earlier messages. `isOwn` says of an id whether it is the user's. */
  history({ epoch, messages, complete }, isOwn) {
    const { before } = this.#earlier;
    if (before === null) return;
    // The answer to an earlier request, which was asked again.
    if (messages.some(({ offset }) => offset >= before)) return;
    const isInPlace = epoch === this.#position?.epoch && this.#log.earliest === before;
    if (isInPlace) {
      const earlier = messages.map((message) => entryOf(message, isOwn(message), false));
      this.#log.prepend(earlier, complete || messages.length === 0);
    }
    this.#earlier.end();
  }

  /** Messages are missing: ask for those after the last one that is here. */
  resync() {
    if (this.#isInLog) this.#become("outside");
  }

  presence(presence) {
    this.#members.presence(presence);
    this.#changed();
  }

  /** The server did not let this client in; `isFinal` says that it is no use to wait. */
  refused(reason, isFinal) {
    if (this.state !== "joining") return;
    this.#become("refused");
    if (this.refusals === 0) this.notice(reason);
    this.refusals += 1;
    this.#forbidden = isFinal ? reason : "";
    this.#refuseIfForbidden();
  }

  /** The application removed the user from the room. */
  evicted() {
    this.#waitingSignals.clear();
    this.#members.set([]);
    this.#earlier.end();
    this.#become("evicted");
    this.notice(EVICTED);
    this.#forbidden = EVICTED;
    this.#refuseIfForbidden();
  }

  /** The server asks this client to enter later. It says so in the room. */
  postponed(reason, milliseconds) {
    this.#become("refused");
    this.notice(reason);
    this.tryAfter(milliseconds);
  }

  tryAgain() {
    if (this.state === "refused") this.#become("outside");
  }

  tryAfter(milliseconds) {
    clearTimeout(this.#pause);
    this.#pause = setTimeout(() => {
      this.tryAgain();
      this.#host.wake();
    }, milliseconds);
  }

  /** The server did not carry out this message, or without an id the join: send it again. */
  unheard(id) {
    if (id !== undefined) this.#outbox.unheard(id);
    else if (this.state === "joining") this.#become("outside");
    else this.#earlier.unheard();
  }

  /** The server refused a message. */
  rejected(id, code, reason) {
    if (!this.#outbox.rejected(id, code, reason)) return;
    const entry = this.#outbox.settle(id);
    if (entry !== null) this.#log.add({ ...entry, state: "sent" });
    this.#changed();
  }

  /** An error that names no message, inside the room. */
  failed(code, seconds) {
    if (code === "invalid" || code === "forbidden" || code === "refused") {
      // The application has no such signal, or does not allow it here.
      this.#mutedSignals.add(this.#lastSignal);
    } else if (code === "rate_limited") this.#earlier.askAfter(seconds * 1000);
    else this.#earlier.end();
  }

  // --- The log ----------------------------------------------------------------

  /** Whether messages of the server have a place in the log. */
  get #isInLog() {
    return this.state === "replaying" || this.state === "inside";
  }

  #show(message, own) {
    const waiting = this.#outbox.settle(message.id);
    const entry = entryOf(message, own || waiting !== null, this.isKnown);
    if (this.#log.add(entry) && entry.isNew) this.#messages.notify(entry);
    this.#changed();
  }

  /** A message does not wait in a room that the user may not enter. */
  #refuseIfForbidden() {
    if (this.state !== "refused" && this.state !== "evicted") return;
    if (this.#forbidden !== "") this.#outbox.refuseAll(this.#forbidden);
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

function keyOf(id) {
  return `message-${id}`;
}

function entryOf(message, own, isNew) {
  const { id, offset, event, data, sender = null, sent_at } = message;
  return {
    kind: "message",
    key: keyOf(id),
    id,
    offset,
    event,
    data,
    sender,
    own,
    sentAt: new Date(sent_at),
    isNew,
    state: "sent",
    reason: "",
  };
}
