import type { Application } from "../events.js";
import type { Entry, Member, MessageEntry, Room } from "../realtime/index.js";

export const ada: Member = { id: "id-of-ada", name: "ada" };
export const bob: Member = { id: "id-of-bob", name: "bob" };

/** A message for tests, of ada. Its key is its text. */
export function message(
  text: string,
  changes: Partial<MessageEntry<Application>> = {},
): MessageEntry<Application> {
  const entry: object = {
    kind: "message",
    key: text,
    id: text,
    offset: 1,
    event: "chat.message",
    data: { text },
    sender: ada,
    own: false,
    sentAt: new Date(2026, 0, 31, 12, 0),
    isNew: true,
    state: "sent",
    reason: "",
    ...changes,
  };
  // The application may have more events than this one.
  return entry as MessageEntry<Application>;
}

export function notice(text: string): Entry<Application> {
  return { kind: "notice", key: text, text };
}

type Signal = Parameters<Parameters<Room<Application>["onSignal"]>[0]>[0];

/** A room for tests, in which a test says what happens. */
export class FakeRoom {
  name: string;
  state: Room<Application>["state"] = "inside";
  members = new Map([ada, bob].map((member) => [member.id, member]));
  /** The signals that this client has sent. */
  sent: string[] = [];
  #onChange = new Set<() => void>();
  #onMessage = new Set<(entry: MessageEntry<Application>) => void>();
  #onSignal = new Set<(signal: Signal) => void>();

  constructor(name = "lobby") {
    this.name = name;
  }

  /** This object, as the code that is tested takes it. */
  get room(): Room<Application> {
    return this as unknown as Room<Application>;
  }

  /** How many listeners there are. */
  get listeners(): number {
    return this.#onChange.size + this.#onMessage.size + this.#onSignal.size;
  }

  subscribe(listener: () => void): () => void {
    return add(this.#onChange, listener);
  }

  onMessage(listener: (entry: MessageEntry<Application>) => void): () => void {
    return add(this.#onMessage, listener);
  }

  onSignal(listener: (signal: Signal) => void): () => void {
    return add(this.#onSignal, listener);
  }

  signal(event: string): void {
    this.sent.push(event);
  }

  /** The state or the members have changed. */
  changes(): void {
    for (const listener of this.#onChange) listener();
  }

  receives(entry: MessageEntry<Application>): void {
    for (const listener of this.#onMessage) listener(entry);
  }

  /** Somebody is typing. */
  hears(sender: Member): void {
    for (const listener of this.#onSignal) listener({ event: "chat.typing", data: {}, sender });
  }
}

function add<T>(listeners: Set<T>, listener: T): () => void {
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
  };
}
