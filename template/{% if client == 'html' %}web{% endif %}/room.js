const LOG_LENGTH = 500;
// In how many milliseconds a message is acknowledged as a rule, and how many more may pass.
const ANSWER = 5_000;
const PATIENCE = 15_000;

const MISSED = "The connection was interrupted. Messages may be missing here.";
const UNCONFIRMED = "The server did not confirm this message.";
const TOO_BIG = "This message, or one sent along with it, is too big for the server.";

/**
 * A room as this page knows it: where it stands in the sequence of messages, what was
 * said, and what waits to be sent.
 *
 *   outside ───▶ joining ───▶ replaying ───▶ inside
 *    ▲   ▲        │   │           │             │
 *    │   │        │   └─ missed ──┴── resync ───┤     join again: messages were lost
 *    │   └────────│─────────────────────────────┘
 *    │            ▼
 *    └───────── refused                               until `tryAgain`
 *
 * Messages count in the order of their offsets, each once: from `joined` on, the missed
 * (or, in a room that is new to the page, the recent) and then the live ones. Those that
 * come while it joins are part of the answer again. Own messages are sent when all that was
 * missed is here, because one that seemed lost may be in there.
 *
 * An entry of the log is a message, { id, sender, own, text, sentAt, isNew, state, reason }
 * with the state "pending", "sent" or "failed", or a notice, { notice }. The callbacks
 * are given the room: `onEntry` and `onForgotten` with an entry, `onMembers`, `onReplayed`,
 * and `onSilence` when a message is not acknowledged.
 */
export class Room {
  state = "outside";
  // How often in a row the server did not let this page in.
  refusals = 0;
  members = new Set();
  // Messages and notices in their order; the oldest are forgotten.
  log = [];
  // Why nothing can be said here, if so.
  #forbidden = "";
  // The own messages that have not come back yet, by id, in the order of writing.
  pending = new Map();
  // Whether the recent messages are here, so that all that comes is news.
  isKnown = false;
  unread = 0;
  draft = "";
  // { epoch, offset } of the last message here; null before the first one.
  #position = null;
  // The same of the room when it let this page in: there the replay ends.
  #joinedAt = null;
  #callbacks;

  constructor(name, callbacks) {
    this.name = name;
    this.#callbacks = callbacks;
  }

  /** The next message to send, or null. It counts as sent. */
  next() {
    if (this.state === "outside") {
      this.state = "joining";
      const since = this.#position;
      return { type: "join", room: this.name, ...(since && { since }) };
    }
    if (this.state !== "inside") return null;
    for (const entry of this.pending.values()) {
      if (entry.state === "pending" && entry.timer === 0) {
        entry.timer = setTimeout(() => this.#unanswered(entry), ANSWER);
        return { type: "publish", room: this.name, id: entry.id, text: entry.text };
      }
    }
    return null;
  }

  /** The connection is gone, and with it the membership. */
  disconnected() {
    this.state = "outside";
    for (const entry of this.pending.values()) {
      if (entry.timer !== 0) entry.mayBeThere = true;
      this.#stopWaiting(entry);
    }
  }

  /** One of the messages that wait for an answer was too big. */
  tooBig() {
    for (const entry of this.pending.values()) {
      if (entry.timer !== 0) this.#fail(entry, TOO_BIG, true);
    }
  }

  // --- What the server says ---------------------------------------------------

  joined({ epoch, offset, recovered, members }) {
    if (this.state !== "joining") return;
    this.refusals = 0;
    this.#forbidden = "";
    this.members = new Set(members);
    this.#callbacks.onMembers(this);
    if (this.#position !== null && !recovered) {
      this.#position = null;
      this.state = "outside";
      if (this.log.at(-1)?.notice !== MISSED) this.notice(MISSED);
      return;
    }
    this.#joinedAt = { epoch, offset };
    this.state = "replaying";
    if (offset === (this.#position?.offset ?? 0)) this.replayed();
  }

  /** All that was missed is here. */
  replayed() {
    if (this.state !== "replaying") return;
    this.state = "inside";
    this.isKnown = true;
    // A message that nobody can read has an offset too.
    if (!(this.#position?.offset > this.#joinedAt.offset)) this.#position = this.#joinedAt;
    this.#callbacks.onReplayed(this);
  }

  /** A message; `own` says whether this page's user sent it. */
  message(message, own) {
    const { offset } = message;
    const last = this.#position?.offset ?? -1;
    if (this.state === "inside" && offset > last + 1) this.resync();
    if ((this.state !== "replaying" && this.state !== "inside") || offset <= last) return;
    this.#position = { epoch: this.#joinedAt.epoch, offset };
    this.#show(message, own);
    if (this.state === "replaying" && offset >= this.#joinedAt.offset) this.replayed();
  }

  /** Messages are missing: ask for those after the last one that is here. */
  resync() {
    if (this.state !== "joining" && this.state !== "refused") this.state = "outside";
  }

  presence({ user, event }) {
    if (event === "join") this.members.add(user);
    else this.members.delete(user);
    this.#callbacks.onMembers(this);
  }

  /** The server did not let this page in; `isFinal` says that waiting is of no use. */
  refused(reason, isFinal) {
    if (this.state !== "joining") return;
    this.state = "refused";
    if (this.refusals === 0) this.notice(reason);
    this.refusals += 1;
    this.#forbidden = isFinal ? reason : "";
    for (const entry of this.pending.values()) this.#refuse(entry);
  }

  tryAgain() {
    if (this.state === "refused") this.state = "outside";
  }

  /** The server did not listen: say it again, be it this message or the join. */
  unheard(entry) {
    if (entry !== undefined) this.#stopWaiting(entry);
    else if (this.state === "joining") this.state = "outside";
  }

  // --- Own messages -----------------------------------------------------------

  publish(id, sender, text) {
    const entry = {
      id,
      sender,
      own: true,
      text,
      sentAt: new Date(),
      isNew: true,
      state: "pending",
      reason: "",
      // Runs while an answer is due.
      timer: 0,
      // Whether the room may have it from an earlier attempt.
      mayBeThere: false,
    };
    this.pending.set(id, entry);
    this.#callbacks.onEntry(this, entry);
    this.#refuse(entry);
  }

  /** Send a failed message again, under the same id: it can't arrive twice. */
  retry(entry) {
    this.tryAgain();
    entry.state = "pending";
    this.#callbacks.onEntry(this, entry);
  }

  discard(entry) {
    this.pending.delete(entry.id);
    this.#callbacks.onForgotten(this, entry);
  }

  /** The server refused a message. */
  rejected(entry, code, reason) {
    // What has taken the id before is this message: it went by unseen.
    if (code === "invalid" && entry.mayBeThere) this.#settle(entry);
    else this.#fail(entry, reason, code === "unavailable");
  }

  /** What is written where nobody lets this page in does not wait for ever. */
  #refuse(entry) {
    if (this.state !== "refused" || this.#forbidden === "") return;
    if (entry.state === "pending") this.#fail(entry, this.#forbidden, false);
  }

  #unanswered(entry) {
    entry.timer = setTimeout(() => this.#fail(entry, UNCONFIRMED, true), PATIENCE);
    this.#callbacks.onSilence();
  }

  #fail(entry, reason, mayBeThere) {
    this.#stopWaiting(entry);
    entry.state = "failed";
    entry.reason = reason;
    entry.mayBeThere ||= mayBeThere;
    this.#callbacks.onEntry(this, entry);
  }

  /** The room has the message. */
  #settle(entry) {
    this.#stopWaiting(entry);
    this.pending.delete(entry.id);
    entry.state = "sent";
    this.#add(entry);
  }

  #stopWaiting(entry) {
    clearTimeout(entry.timer);
    entry.timer = 0;
  }

  // --- The log ----------------------------------------------------------------

  notice(text) {
    this.#add({ notice: text });
  }

  #show({ id, sender, text, sent_at }, own) {
    if (this.log.some((entry) => entry.id === id)) return;
    const shown = { id, sender, own, text, sentAt: new Date(sent_at) };
    const waiting = own ? this.pending.get(id) : undefined;
    if (waiting === undefined) this.#add({ ...shown, isNew: this.isKnown, state: "sent" });
    else this.#settle(Object.assign(waiting, shown));
  }

  #add(entry) {
    this.log.push(entry);
    this.#callbacks.onEntry(this, entry);
    if (this.log.length > LOG_LENGTH) this.#callbacks.onForgotten(this, this.log.shift());
  }
}
