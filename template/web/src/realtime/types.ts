/**
 * The events of an application, by name. `Application` in events.ts is one of these.
 *
 * `events` are what a room may receive as messages, `signals` what it may receive as signals;
 * `publishes` and `sends` are those of them that this client may send. `calls` has the `data`
 * and the `result` of each call.
 */
export interface Shape {
  events: object;
  publishes: object;
  signals: object;
  sends: object;
  calls: object;
}

/** The name and the data of one of these events, as a discriminated union. */
export type EventOf<Events> = keyof Events extends never
  ? { event: string; data: unknown }
  : { [Name in keyof Events]: { event: Name; data: Events[Name] } }[keyof Events];

export type DataOf<Call> = Call extends { data: infer Data } ? Data : unknown;
export type ResultOf<Call> = Call extends { result: infer Result } ? Result : unknown;

/** A user, as other users see them. The id never changes. */
export interface Member {
  id: string;
  name: string;
}

/**
 * A place in a room's sequence of messages. Offsets grow within an epoch, not necessarily by
 * one. Positions of different epochs can't be compared.
 */
export interface Position {
  epoch: string;
  offset: number;
}

// --- Credentials --------------------------------------------------------------

/** What one socket needs to be let in. */
export interface Handshake {
  protocols?: string[];
  query?: Record<string, string>;
  /** Sent when the socket opens. */
  firstFrame?: object;
  /**
   * Called after the welcome, with a function that sends a message. Returns what to call when
   * the socket is gone.
   */
  whileOpen?: (send: (message: object) => void) => () => void;
}

/** Who the user is, as far as the server has to know. */
export interface Credentials {
  /** What the next socket needs; null without a user. Rejects as `check` does. */
  handshake(): Promise<Handshake | null>;
  /**
   * Whether the server knows the user. Rejects when it can't be asked. If the server refuses
   * this page, the error has the `status` 403 and a sentence that says why.
   */
  check(): Promise<boolean>;
  /** Why a handshake may fail, as a sentence, where `check` can't find that out. */
  readonly refused?: string;
}

// --- The connection -----------------------------------------------------------

export type ConnectionState = "idle" | "connecting" | "open" | "waiting" | "closed" | "expired";

export interface ConnectionStatus {
  state: ConnectionState;
  /** A sentence for people, or "". */
  reason: string;
  /** The time of the next attempt, as of `Date.now()`, in the state "waiting". */
  retryAt: number | null;
}

export interface ClientOptions {
  /** The address of `/ws`. Without it, it is the one beside this page. */
  url?: string | URL;
  /**
   * Whether this page is for the user whom the server welcomes. If not, the client drops the
   * connection and sends nothing.
   */
  mayGoOnAs?: (user: Member) => boolean;
}

// --- Rooms --------------------------------------------------------------------

export type RoomState = "outside" | "joining" | "replaying" | "inside" | "refused" | "evicted";

/** A message in a room's log. It never changes: a new object with the same `key` replaces it. */
export type MessageEntry<A extends Shape = Shape> = EventOf<A["events"]> & {
  readonly kind: "message";
  readonly key: string;
  readonly id: string;
  /** Null until the server has acknowledged it. */
  readonly offset: number | null;
  /** Null if the application published it. */
  readonly sender: Member | null;
  /** Whether this user sent it. */
  readonly own: boolean;
  readonly sentAt: Date;
  /** Whether it came after the recent messages that the room had at first. */
  readonly isNew: boolean;
  readonly state: "pending" | "sent" | "failed";
  /** Why it failed: a sentence, or "". */
  readonly reason: string;
};

/** A sentence in a room's log, for example that messages may be missing there. */
export interface NoticeEntry {
  readonly kind: "notice";
  readonly key: string;
  readonly text: string;
}

export type Entry<A extends Shape = Shape> = MessageEntry<A> | NoticeEntry;

export type SignalOf<A extends Shape = Shape> = EventOf<A["signals"]> & {
  /** Null if the application sent it. */
  readonly sender: Member | null;
};

/** A room of the client: who is there, what was said, and what waits to be sent. */
export interface Room<A extends Shape = Shape> {
  readonly name: string;
  readonly state: RoomState;
  /** Whether the recent messages are here. */
  readonly isKnown: boolean;
  /**
   * The log, in the order of offsets, then own messages that wait. A new array whenever it
   * changes.
   */
  readonly entries: readonly Entry<A>[];
  /** By id; null in a room that is too large for a list. A new map whenever it changes. */
  readonly members: ReadonlyMap<string, Member> | null;
  readonly memberCount: number;
  /** Own messages that the server has not acknowledged. */
  readonly unsent: number;
  /** Whether there may be older messages than the first entry. */
  readonly hasEarlier: boolean;
  /** Whether earlier messages are being loaded. */
  readonly isLoading: boolean;
  /** Grows with every change. */
  readonly version: number;

  /**
   * Put up to 50 older messages in front of the log. Resolves when they are there, and also
   * when there are none, or the server did not send them in time.
   */
  loadEarlier(): Promise<void>;
  /**
   * Send a message, as soon as that is possible. It is in `entries` at once. Returns its id.
   * Throws RangeError if 1,000 messages wait already.
   */
  publish<Name extends keyof A["publishes"]>(event: Name, data: A["publishes"][Name]): string;
  /** Send a signal. It is dropped outside the room. Of each event only the newest one waits. */
  signal<Name extends keyof A["sends"]>(event: Name, data: A["sends"][Name]): void;
  /** Send a failed message again. */
  retry(key: string): void;
  /** Forget a message that is not sent. */
  discard(key: string): void;
  /** Add a sentence to the log. */
  notice(text: string): void;
  /** Call a function after changes, at most once a microtask. Returns how to stop that. */
  subscribe(listener: () => void): () => void;
  /** Call a function with each new message, once. Returns how to stop that. */
  onMessage(listener: (entry: MessageEntry<A>) => void): () => void;
  /** Call a function with each signal of others. Returns how to stop that. */
  onSignal(listener: (signal: SignalOf<A>) => void): () => void;
}
