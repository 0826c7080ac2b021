import { MESSAGE, TYPING } from "./events.js";
import { Typing } from "./typing.js";

const LOG_LENGTH = 500;
// The time (milliseconds) in which the server usually acknowledges a message, and how much
// longer to wait after that.
const ANSWER = 5_000;
const PATIENCE = 15_000;

const MISSED = "The connection was interrupted. Messages may be missing here.";
const UNCONFIRMED = "The server did not confirm this message.";
const TOO_BIG = "This message, or one sent along with it, is too big for the server.";
const EVICTED = "You were removed from this room.";

/**
 * A room as this page knows it: its position in the sequence of messages, its log, and
 * what waits to be sent.
 *
 *   outside ───▶ joining ───▶ replaying ───▶ inside
 *    ▲   ▲        │   │           │             │
 *    │   │        │   └─ missed ──┴── resync ───┤     join again: messages were lost
 *    │   └────────│─────────────────────────────┘
 *    │            ▼
 *    └───────── refused                               until `tryAgain`
 *
 * `left` with the reason "evicted" leads to the state "evicted" from any of them. The page
 * stays there, over reconnects too, until the user sends a message again (`retry`).
 *
 * Messages are shown in the order of their offsets, each once. After `joined` come the
 * missed messages (or the recent ones, in a room that is new to the page), then the live
 * ones. Offsets grow, but not always by one: the server sends `resync` when messages were
 * lost. Messages that arrive while the page joins are ignored, because the replay has them
 * too. The user's own messages are sent after the replay, because one that seemed lost may
 * be in it.
 *
 * An entry of the log is a message, { id, event, data, sender, own, sentAt, isNew, state,
 * reason } with the state "pending", "sent" or "failed", or a notice, { notice }. `sender`
 * is null when the application published the message. The callbacks receive the room:
 * `onEntry` and `onForgotten` with an entry, `onMembers`, `onTyping`, `onReplayed`, and
 * `onSilence` when the server does not acknowledge a message in time.
 */
export class Room {
  state = "outside";
  // How often in a row the server refused to let this page in.
  refusals = 0;
  // Users by id, or null in a room that is too large for a list.
  members = new Map();
  memberCount = 0;
  typing;
  // Messages and notices in order; the oldest are dropped.
  log = [];
  // Why nothing can be published here, or "".
  #forbidden = "";
  // The user's own unacknowledged messages, by id, in the order of writing.
  pending = new Map();
  // Whether the recent messages are here, so that every further message is new.
  isKnown = false;
  unread = 0;
  draft = "";
  // { epoch, offset } of the last message here; null before the first one.
  #position = null;
  // The room's position when this page joined it: the replay ends there.
  #joinedAt = null;
  #callbacks;

  constructor(name, callbacks) {
    this.name = name;
    this.#callbacks = callbacks;
    this.typing = new Typing(() => callbacks.onTyping(this));
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
        const { id, event, data } = entry;
        entry.timer = setTimeout(() => this.#unanswered(entry), ANSWER);
        return { type: "publish", room: this.name, id, event, data };
      }
    }
    if (this.typing.take()) return { type: "signal", room: this.name, event: TYPING, data: {} };
    return null;
  }

  /** The connection is gone, and with it the membership. */
  disconnected() {
    if (this.state !== "evicted") this.state = "outside";
    this.typing.clear();
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

  joined({ epoch, offset, recovered, count, members }) {
    // An error that only seemed to be the answer to the join may have come before.
    if (!["joining", "refused", "evicted"].includes(this.state)) return;
    this.refusals = 0;
    this.#forbidden = "";
    this.#setMembers(members ? byId(members) : null, count);
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

  /** The replay is complete. */
  replayed() {
    if (this.state !== "replaying") return;
    this.state = "inside";
    this.isKnown = true;
    // The last message may be one that nobody can read.
    if (!(this.#position?.offset > this.#joinedAt.offset)) this.#position = this.#joinedAt;
    this.#callbacks.onReplayed(this);
  }

  /** A message; `own` says whether this page's user sent it. */
  message(message, own) {
    const { offset, sender } = message;
    const last = this.#position?.offset ?? -1;
    if (this.state !== "replaying" && this.state !== "inside") return;
    if (offset <= last) {
      // The answer to one of the user's own messages that the room had already.
      if (own && this.pending.has(message.id)) this.#show(message, own);
      return;
    }
    this.#position = { epoch: this.#joinedAt.epoch, offset };
    if (sender !== undefined) this.typing.stopped(sender.id);
    this.#show(message, own);
    if (this.state === "replaying" && offset >= this.#joinedAt.offset) this.replayed();
  }

  /** A signal of another user. */
  signal({ event, sender }) {
    if (event === TYPING && sender !== undefined) this.typing.heard(sender);
  }

  /** Messages are missing: ask for those after the last one that is here. */
  resync() {
    if (this.state === "replaying" || this.state === "inside") this.state = "outside";
  }

  /**
   * Users came or left. A large room says only how many are there, and all of its `members`
   * when it has become small again.
   */
  presence({ user, users = user ? [user] : [], event, count, members }) {
    if (count !== undefined) this.#setMembers(members ? byId(members) : null, count);
    else if (this.members === null) {
      this.#setMembers(null, this.memberCount + (event === "join" ? 1 : -1) * users.length);
    } else {
      for (const each of users) {
        if (event === "join") this.members.set(each.id, each);
        else this.members.delete(each.id);
      }
      this.#setMembers(this.members);
    }
    if (event === "leave") for (const { id } of users) this.typing.stopped(id);
  }

  /** The server did not let this page in; `isFinal` says that it is no use to wait. */
  refused(reason, isFinal) {
    if (this.state !== "joining") return;
    this.state = "refused";
    if (this.refusals === 0) this.notice(reason);
    this.refusals += 1;
    this.#forbidden = isFinal ? reason : "";
    for (const entry of this.pending.values()) this.#refuse(entry);
  }

  /** The application removed the user from the room. */
  evicted() {
    this.state = "evicted";
    this.typing.clear();
    this.#setMembers(new Map());
    this.notice(EVICTED);
    this.#forbidden = EVICTED;
    for (const entry of this.pending.values()) this.#refuse(entry);
  }

  /** The server asks this page to enter later. It says so in the room. */
  postponed(reason) {
    this.state = "refused";
    this.notice(reason);
  }

  tryAgain() {
    if (this.state === "refused") this.state = "outside";
  }

  /** The server did not carry out this message, or the join: send it again. */
  unheard(entry) {
    if (entry !== undefined) this.#stopWaiting(entry);
    else if (this.state === "joining") this.state = "outside";
  }

  #setMembers(members, count = members.size) {
    this.members = members;
    this.memberCount = count;
    this.#callbacks.onMembers(this);
  }

  // --- The user's own messages ------------------------------------------------

  publish(id, sender, text) {
    const entry = {
      id,
      event: MESSAGE,
      data: { text },
      sender,
      own: true,
      sentAt: new Date(),
      isNew: true,
      state: "pending",
      reason: "",
      // Runs while an answer is due.
      timer: 0,
      // Whether the room may have it from an earlier attempt.
      mayBeThere: false,
    };
    this.typing.changed(false);
    this.pending.set(id, entry);
    this.#callbacks.onEntry(this, entry);
    this.#refuse(entry);
  }

  /** Send a failed message again, under the same id: it can't arrive twice. */
  retry(entry) {
    if (this.state === "refused" || this.state === "evicted") this.state = "outside";
    entry.state = "pending";
    this.#callbacks.onEntry(this, entry);
  }

  discard(entry) {
    this.pending.delete(entry.id);
    this.#callbacks.onForgotten(this, entry);
  }

  /** The server refused a message. */
  rejected(entry, code, reason) {
    // The message that already has this id is this one: its acknowledgement was lost.
    if (code === "invalid" && entry.mayBeThere) this.#settle(entry);
    else if (entry.state === "pending") this.#fail(entry, reason, code === "unavailable");
  }

  /** A message does not wait in a room that the user may not enter. */
  #refuse(entry) {
    if (this.state !== "refused" && this.state !== "evicted") return;
    if (this.#forbidden === "" || entry.state !== "pending") return;
    this.#fail(entry, this.#forbidden, entry.timer !== 0);
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

  #show({ id, event, data, sender = null, sent_at }, own) {
    if (this.log.some((entry) => entry.id === id)) return;
    const shown = { id, event, data, sender, own, sentAt: new Date(sent_at) };
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

function byId(users) {
  return new Map(users.map((user) => [user.id, user]));
}
