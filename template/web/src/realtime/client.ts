import type { Answer } from "./calls.js";
import { Connection } from "./connection.js";
import { Disconnected } from "./errors.js";
import { Changes, Listeners } from "./listeners.js";
import { Rooms } from "./rooms.js";
import type {
  ClientOptions,
  ConnectionStatus,
  Credentials,
  DataOf,
  Member,
  ResultOf,
  Room,
  Shape,
} from "./types.js";

/**
 * The connection to the server, the rooms in it, and calls. `A` describes the events of the
 * application: `new Client<Application>(credentials)`.
 */
export class Client<A extends Shape> {
  readonly #changes = new Changes();
  readonly #expired = new Listeners<string>();
  readonly #rooms: Rooms;
  readonly #connection: Connection;

  constructor(credentials: Credentials, options: ClientOptions = {}) {
    const onChange = (): void => {
      this.#changes.changed();
    };
    this.#rooms = new Rooms({
      send: (message) => {
        this.#connection.send(message);
      },
      onSilence: () => {
        this.#connection.check();
      },
      onChange,
    });
    this.#connection = new Connection(credentials, options, {
      onStatus: ({ state }) => {
        if (state !== "open") this.#rooms.disconnected();
        onChange();
      },
      onMessage: (message) => {
        this.#rooms.receive(message);
      },
      onExpired: (reason) => {
        this.#expired.notify(reason);
      },
      onTooBig: () => {
        this.#rooms.tooBig();
      },
    });
  }

  get status(): ConnectionStatus {
    return this.#connection.status;
  }

  /** Null until the first welcome. */
  get user(): Member | null {
    return this.#rooms.user;
  }

  /** In the order of entering. A new map whenever it changes. */
  get rooms(): ReadonlyMap<string, Room<A>> {
    // The rooms know nothing of the types of events.
    return this.#rooms.all as unknown as ReadonlyMap<string, Room<A>>;
  }

  /** How many own messages the server has not acknowledged, in all rooms. */
  get unsent(): number {
    return this.#rooms.unsent;
  }

  /** Grows with every change of the status, the user, the rooms, or `unsent`. */
  get version(): number {
    return this.#changes.version;
  }

  /** Call a function after changes, at most once a microtask. Returns how to stop that. */
  readonly subscribe = this.#changes.subscribe;

  /**
   * Call a function when there is no user any more, with the server's reason, or "".
   * Returns how to stop that.
   */
  onExpired(listener: (reason: string) => void): () => void {
    return this.#expired.add(listener);
  }

  /** Connect, and reconnect for ever. While the client waits for the next attempt, try now. */
  connect(): Promise<void> {
    return this.#connection.connect();
  }

  /** End the connection until `connect`. The rooms stay. */
  close(): void {
    this.#connection.close();
  }

  /**
   * Enter a room, and again after each reconnect. Returns the same room for the same name.
   * Throws RangeError for a bad name.
   */
  enter(name: string): Room<A> {
    return this.#rooms.enter(name) as unknown as Room<A>;
  }

  leave(name: string): void {
    this.#rooms.leave(name);
  }

  /** The user looks at this room: it is joined first, and its messages are sent first. */
  focus(name: string): void {
    this.#rooms.focus(name);
  }

  /**
   * Call the application, and wait for the result. Rejects with ServerError if the server
   * does not carry out the call, with Disconnected if there is no connection or it is lost
   * before the answer (a call is not sent twice), with the reason of `signal` once that is
   * aborted, and with RangeError if 1,000 calls wait already.
   */
  call<Name extends keyof A["calls"] & string>(
    event: Name,
    data: DataOf<A["calls"][Name]>,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<ResultOf<A["calls"][Name]>> {
    const { state } = this.status;
    if (state !== "open" && state !== "connecting") return Promise.reject(new Disconnected());
    const answer: Promise<Answer> = this.#rooms.calls.add(event, data, signal);
    this.#rooms.wake();
    return answer as Promise<ResultOf<A["calls"][Name]>>;
  }
}
