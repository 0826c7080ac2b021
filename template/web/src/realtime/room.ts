import { backoff } from "./backoff.js";
import { Earlier } from "./earlier.js";
import { entryOf, keyOf } from "./entry.js";
import { Changes, Listeners } from "./listeners.js";
import { Log } from "./log.js";
import { Members } from "./members.js";
import { Outbox } from "./outbox.js";
import { newId, secondsToWait, sentence } from "./protocol.js";
import type { ClientMessage, ErrorCode, ErrorMessage, History, Joined } from "./protocol.js";
import type { Message, RoomMessage, Signal } from "./protocol.js";
import { Signals } from "./signals.js";
import type { Entry, Member, MessageEntry, Position, RoomState, SignalOf } from "./types.js";

// After these errors, the client tries again to enter a room.
const KEEPS_TRYING: Partial<Record<ErrorCode, string>> = {
  unavailable: "The room can't be entered at the moment. This page keeps trying.",
  internal: "Something went wrong in the server. This page keeps trying.",
};
const INTERNAL = "Something went wrong in the server. Try again in a moment.";
const EVICTED = "You were removed from this room.";
const TOO_BIG = "This message, or one sent along with it, is too big for the server.";

/** What a room needs of its client. */
export interface Host {
  /** Empty as long as the server has not said who this is. */
  user: () => Member;
  /** Whether the user has sent this. */
  isOwn: (message: { sender?: Member }) => boolean;
  /** There may be something to send. */
  wake: () => void;
  /** The server does not acknowledge a message in time. */
  onSilence: () => void;
  /** The number of own messages that wait has changed. */
  onUnsent: () => void;
}

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
  readonly name: string;
  state: RoomState = "outside";
  isKnown = false;
  readonly #host: Host;
  readonly #changes = new Changes();
  readonly #onMessage = new Listeners<MessageEntry>();
  readonly #onSignal = new Listeners<SignalOf>();
  readonly #members = new Members();
  readonly #log = new Log();
  readonly #outbox: Outbox;
  readonly #earlier: Earlier;
  readonly #signals: Signals;
  #entries: readonly Entry[] | null = null;
  // How often in a row the server refused to let this client in.
  #refusals = 0;
  // Why nothing can be published here, or "".
  #forbidden = "";
  // The position of the last message here; null before the first one.
  #position: Position | null = null;
  // The room's position when this client joined it: the replay ends there.
  #joinedAt: Position = { epoch: "", offset: 0 };
  #pause: ReturnType<typeof setTimeout> | undefined;

  constructor(name: string, host: Host) {
    this.name = name;
    this.#host = host;
    this.#signals = new Signals(name);
    const onOutbox = (): void => {
      this.#changed();
      host.onUnsent();
    };
    this.#outbox = new Outbox(name, onOutbox, host.onSilence);
    const onEarlier = (): void => {
      this.#changed();
      host.wake();
    };
    this.#earlier = new Earlier(name, onEarlier);
  }

  // --- What the page sees -----------------------------------------------------

  get entries(): readonly Entry[] {
    this.#entries ??= [...this.#log.entries, ...this.#outbox.entries];
    return this.#entries;
  }

  get members(): ReadonlyMap<string, Member> | null {
    return this.#members.list;
  }

  get memberCount(): number {
    return this.#members.count;
  }

  get unsent(): number {
    return this.#outbox.size;
  }

  get hasEarlier(): boolean {
    return this.#earliest !== null;
  }

  get isLoading(): boolean {
    return this.#earlier.before !== null;
  }

  get version(): number {
    return this.#changes.version;
  }

  readonly subscribe = this.#changes.subscribe;

  onMessage(listener: (entry: MessageEntry) => void): () => void {
    return this.#onMessage.add(listener);
  }

  onSignal(listener: (signal: SignalOf) => void): () => void {
    return this.#onSignal.add(listener);
  }

  loadEarlier(): Promise<void> {
    return this.#earlier.load(this.#earliest);
  }

  /** Nobody looks at the room any more. */
  blur(): void {
    this.#log.shrink();
    this.#earlier.end();
  }

  // --- What is sent -----------------------------------------------------------

  publish(event: string, data: unknown): string {
    const id = newId();
    const sender = this.#host.user();
    const sent_at = new Date().toISOString();
    const message = { type: "message", room: this.name, id, offset: 0, event, data } as const;
    const entry = entryOf({ ...message, sender, sent_at }, true, true);
    this.#outbox.add({ ...entry, offset: null, state: "pending" });
    this.#failIfForbidden();
    this.#host.wake();
    return id;
  }

  signal(event: string, data: unknown): void {
    if (this.state === "inside") this.#signals.add(event, data);
    this.#host.wake();
  }

  retry(key: string): void {
    if (this.#isShut) this.#become("outside");
    this.#outbox.retry(key);
    this.#host.wake();
  }

  discard(key: string): void {
    this.#outbox.take(key);
  }

  notice(text: string): void {
    this.#log.notice(text);
    this.#changed();
  }

  /** The next message to send, or null. It counts as sent. */
  next(): ClientMessage | null {
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
  disconnected(): void {
    clearTimeout(this.#pause);
    this.#signals.clear();
    this.#outbox.disconnected();
    this.#earlier.disconnected();
    if (this.state !== "evicted") this.#become("outside");
  }

  /** One of the messages that wait for an answer was too big. */
  tooBig(): void {
    this.#outbox.fail(TOO_BIG, true);
  }

  // --- What the server says ---------------------------------------------------

  /** Handle a message of the server about this room. */
  receive(message: RoomMessage): void {
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

  #joined({ epoch, offset, recovered, count, members }: Joined): void {
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
  replayed(): void {
    if (this.state !== "replaying") return;
    this.isKnown = true;
    // The last message may be one that nobody can read.
    if ((this.#position?.offset ?? -1) < this.#joinedAt.offset) this.#position = this.#joinedAt;
    this.#become("inside");
  }

  #message(message: Message): void {
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
  #signal(signal: Signal): void {
    if (this.#host.isOwn(signal)) return;
    const { event, data, sender = null } = signal;
    this.#onSignal.notify({ event, data, sender });
  }

  /** A page of earlier messages. */
  #history({ epoch, messages, complete }: History): void {
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
  evicted(): void {
    this.#become("evicted");
    this.#signals.clear();
    this.#earlier.end();
    this.#members.set([]);
    this.notice(EVICTED);
    this.#forbidden = EVICTED;
    this.#failIfForbidden();
  }

  tryAgain(): void {
    if (this.state === "refused") this.#become("outside");
  }

  /** The server did not carry out what this client has sent. */
  error({ code, detail, ref }: ErrorMessage): void {
    if (ref !== undefined) this.#publishFailed(ref, code, detail);
    else if (this.state === "joining") this.#joinFailed(code, detail);
    // The application has no such signal, or does not allow it here.
    else if (["invalid", "forbidden", "refused"].includes(code)) this.#signals.refused();
    else if (code === "rate_limited") this.#earlier.retry(secondsToWait(detail) * 1000);
    else this.#earlier.end();
  }

  #publishFailed(id: string, code: ErrorCode, detail: string): void {
    const reason = code === "internal" ? INTERNAL : sentence(detail);
    if (!this.#outbox.refused(id, code, reason)) return;
    const entry = this.#outbox.take(keyOf(id));
    if (entry !== undefined) this.#log.add({ ...entry, state: "sent" });
    this.#changed();
  }

  #joinFailed(code: ErrorCode, detail: string): void {
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

  #tryAfter(milliseconds: number): void {
    clearTimeout(this.#pause);
    this.#pause = setTimeout(() => {
      this.tryAgain();
      this.#host.wake();
    }, milliseconds);
  }

  // --- The state --------------------------------------------------------------

  /** Whether messages of the server have a place in the log. */
  get #isInside(): boolean {
    return this.state === "replaying" || this.state === "inside";
  }

  /** Whether the server does not let the user in. */
  get #isShut(): boolean {
    return this.state === "refused" || this.state === "evicted";
  }

  /** The offset before which there may be messages that can be loaded, or null. */
  get #earliest(): number | null {
    return this.isKnown && this.state !== "evicted" ? this.#log.earliest : null;
  }

  /** A message does not wait in a room that the user may not enter. */
  #failIfForbidden(): void {
    if (this.#isShut && this.#forbidden !== "") this.#outbox.fail(this.#forbidden);
  }

  #become(state: RoomState): void {
    this.state = state;
    this.#changed();
  }

  #changed(): void {
    this.#entries = null;
    this.#changes.changed();
  }
}

function tooMuch(seconds: number): string {
  const time = seconds === 1 ? "1 second" : `${seconds} seconds`;
  return `The server does not send so much at once. This page tries again by itself in ${time}.`;
}
