import { inject, Injectable, InjectionToken, signal, type Signal } from "@angular/core";
import { credentials } from "../auth/index.js";
import type { Application } from "../events.js";
import { Client, type Member, type Room } from "../realtime/index.js";

/** Whether this page is for the user whom the server welcomes. */
export const MAY_GO_ON_AS = new InjectionToken<(user: Member) => boolean>("MAY_GO_ON_AS", {
  factory: () => () => true,
});

/** The client that `Realtime` uses. Tests provide another one. */
export const CLIENT = new InjectionToken<Client<Application>>("CLIENT", {
  factory: () => new Client<Application>(credentials, { mayGoOnAs: inject(MAY_GO_ON_AS) }),
});

interface Source {
  subscribe(listener: () => void): () => void;
}

/** A signal of what `read` returns, which is read again after each change of the source. */
export function follow<Value>(source: Source, read: () => Value): Signal<Value> {
  const value = signal(read());
  source.subscribe(() => value.set(read()));
  return value.asReadonly();
}

/** The connection to the server, its rooms and its calls, with signals of their state. */
@Injectable({ providedIn: "root" })
export class Realtime {
  readonly client = inject(CLIENT);
  /** The state in words, and when the next attempt is made. */
  readonly connection = follow(this.client, () => this.client.status);
  /** Who the server says we are. Null before the first connection. */
  readonly user = follow(this.client, () => this.client.user);
  /** The rooms by name, in the order of entering. */
  readonly rooms = follow(this.client, () => this.client.rooms);
  /** How many own messages the server has not acknowledged. */
  readonly unsent = follow(this.client, () => this.client.unsent);
  readonly #rooms = new WeakMap<Room<Application>, RoomSignals>();

  /** Connect, or try again now. */
  connect(): Promise<void> {
    return this.client.connect();
  }

  /**
   * Enter a room and stay in it, also over reconnects, until `leave`. The same name gives the
   * same object. Throws RangeError for a bad name.
   */
  room(name: string): RoomSignals {
    const room = this.client.enter(name);
    const known = this.#rooms.get(room) ?? new RoomSignals(room);
    this.#rooms.set(room, known);
    return known;
  }

  leave(name: string): void {
    this.client.leave(name);
  }

  /**
   * Ask the server something. Rejects with `ServerError`, and with `Disconnected` if the
   * connection is lost before the answer.
   */
  readonly call: Client<Application>["call"] = (event, data, options) =>
    this.client.call(event, data, options);
}

/** A room: who is there and what was said, as signals. */
export class RoomSignals {
  readonly core: Room<Application>;
  readonly name: string;
  readonly state: Signal<Room<Application>["state"]>;
  /** The log, and after it own messages that wait. */
  readonly entries: Signal<Room<Application>["entries"]>;
  /** Who is there, by id; null in a room that is too large for a list. */
  readonly members: Signal<Room<Application>["members"]>;
  readonly memberCount: Signal<number>;
  /** Whether the recent messages are here. */
  readonly isKnown: Signal<boolean>;
  readonly hasEarlier: Signal<boolean>;
  readonly isLoading: Signal<boolean>;

  constructor(room: Room<Application>) {
    this.core = room;
    this.name = room.name;
    this.state = follow(room, () => room.state);
    this.entries = follow(room, () => room.entries);
    this.members = follow(room, () => room.members);
    this.memberCount = follow(room, () => room.memberCount);
    this.isKnown = follow(room, () => room.isKnown);
    this.hasEarlier = follow(room, () => room.hasEarlier);
    this.isLoading = follow(room, () => room.isLoading);
  }

  /** Send a message. It is in `entries` at once, as pending. Returns its id. */
  readonly publish: Room<Application>["publish"] = (event, data) => this.core.publish(event, data);

  /** Send what is not worth remembering. It is dropped outside the room. */
  readonly signal: Room<Application>["signal"] = (event, data) => this.core.signal(event, data);

  /** Load older messages in front of the log. */
  loadEarlier(): Promise<void> {
    return this.core.loadEarlier();
  }
}
