import { Calls, type Answer } from "./calls.js";
import { Connection } from "./connection.js";
import { Disconnected } from "./errors.js";
import { Changes, Listeners } from "./listeners.js";
import { Pace } from "./pace.js";
import { OWN_ROOM, isRoomName, secondsToWait } from "./protocol.js";
import type { ClientMessage, ErrorMessage, ServerMessage } from "./protocol.js";
import { RoomSession, type Host } from "./room.js";
import type { ClientOptions, ConnectionStatus, Credentials, DataOf } from "./types.js";
import type { Member, ResultOf, Room, Shape } from "./types.js";

const BAD_NAME =
  "A room's name is 1 to 64 letters (A to Z), digits, dots, colons, hyphens and underscores.";
// How long (milliseconds) to send nothing when the server says that it was too much.
const PAUSE = 1_500;
// How many of the user's ids are remembered.
const IDS = 100;

/**
 * The connection to the server, the rooms in it, and calls. `A` describes the events of the
 * application: `new Client<Application>(credentials)`.
 *
 * What the server says about a room goes to that room. What the rooms and the calls have to
 * send goes to the server, no faster than the server takes it.
 */
export class Client<A extends Shape> {
  readonly #changes = new Changes();
  readonly #onExpired = new Listeners<string>();
  readonly #calls = new Calls();
  readonly #connection: Connection;
  readonly #pace: Pace;
  readonly #host: Host;
  #rooms: ReadonlyMap<string, RoomSession> = new Map();
  // The room on display. It comes first.
  #focused = "";
  // Names of rooms to leave.
  readonly #leaving = new Set<string>();
  #user: Member | null = null;
  // The user's ids: some styles give each connection another one.
  readonly #ids = new Set<string>();
  #isPinged = false;

  constructor(credentials: Credentials, options: ClientOptions = {}) {
    const onChange = (): void => {
      this.#changes.changed();
    };
    const connection = new Connection(credentials, options, {
      onStatus: () => {
        if (!connection.isOpen) this.#disconnected();
        onChange();
      },
      onMessage: (message) => {
        this.#receive(message);
        this.#pace.wake();
      },
      onExpired: (reason) => {
        this.#onExpired.notify(reason);
      },
      onTooBig: () => {
        for (const room of this.#rooms.values()) room.tooBig();
      },
    });
    this.#connection = connection;
    this.#pace = new Pace(
      () => this.#next(),
      (message) => {
        connection.send(message);
      },
    );
    this.#host = {
      user: () => this.#user ?? { id: "", name: "" },
      isOwn: ({ sender }) => this.#ids.has(sender?.id ?? ""),
      wake: () => {
        this.#pace.wake();
      },
      onSilence: () => {
        connection.check();
      },
      onUnsent: onChange,
    };
  }

  get status(): ConnectionStatus {
    return this.#connection.status;
  }

  /** Null until the first welcome. */
  get user(): Member | null {
    return this.#user;
  }

  /** In the order of entering. A new map whenever it changes. */
  get rooms(): ReadonlyMap<string, Room<A>> {
    // The rooms know nothing of the types of events.
    return this.#rooms as unknown as ReadonlyMap<string, Room<A>>;
  }

  /** How many own messages the server has not acknowledged, in all rooms. */
  get unsent(): number {
    return [...this.#rooms.values()].reduce((sum, room) => sum + room.unsent, 0);
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
    return this.#onExpired.add(listener);
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
    if (name !== OWN_ROOM && !isRoomName(name)) throw new RangeError(BAD_NAME);
    let room = this.#rooms.get(name);
    if (room === undefined) {
      room = new RoomSession(name, this.#host);
      this.#leaving.delete(name);
      this.#setRooms([...this.#rooms, [name, room]]);
    }
    return room as unknown as Room<A>;
  }

  leave(name: string): void {
    const room = this.#rooms.get(name);
    if (room === undefined) return;
    // The server refuses a `leave` from outside the room.
    const isInside = room.state !== "refused" && room.state !== "evicted";
    if (isInside && this.#connection.isOpen) this.#leaving.add(name);
    this.#setRooms([...this.#rooms].filter(([other]) => other !== name));
    room.disconnected();
    room.blur();
  }

  /** The user looks at this room: it is joined first, and its messages are sent first. */
  focus(name: string): void {
    if (name !== this.#focused) this.#rooms.get(this.#focused)?.blur();
    this.#focused = name;
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
    const answer: Promise<Answer> = this.#calls.add(event, data, signal);
    this.#pace.wake();
    return answer as Promise<ResultOf<A["calls"][Name]>>;
  }

  #setRooms(rooms: [string, RoomSession][]): void {
    this.#rooms = new Map(rooms);
    this.#changes.changed();
    this.#pace.wake();
  }

  // --- The connection ---------------------------------------------------------

  #disconnected(): void {
    this.#pace.stop();
    this.#leaving.clear();
    this.#calls.disconnected();
    for (const room of this.#rooms.values()) room.disconnected();
  }

  /** The next message to send, or null. The room on display comes first. */
  #next(): ClientMessage | null {
    for (const name of this.#leaving) {
      this.#leaving.delete(name);
      return { type: "leave", room: name };
    }
    const call = this.#calls.next();
    if (call !== null) return call;
    const focused = this.#rooms.get(this.#focused);
    const rooms = [...(focused ? [focused] : []), ...this.#rooms.values()];
    for (const room of rooms) {
      const message = room.next();
      if (message !== null) return message;
    }
    if (this.#isPinged || !rooms.some((room) => room.state === "replaying")) return null;
    this.#isPinged = true;
    return { type: "ping" };
  }

  #receive(message: ServerMessage): void {
    const room = "room" in message ? this.#rooms.get(message.room ?? "") : undefined;
    switch (message.type) {
      case "welcome":
        this.#welcome(message.user);
        break;
      case "pong":
        this.#pong();
        break;
      case "result":
        this.#calls.result(message);
        break;
      case "error":
        this.#error(message, room);
        break;
      case "left":
        this.#left(room, message.reason);
        break;
      default:
        room?.receive(message);
    }
  }

  #welcome(user: Member): void {
    if (this.#ids.size >= IDS) this.#ids.clear();
    this.#ids.add(user.id);
    this.#user = user;
    this.#isPinged = false;
    this.#changes.changed();
    this.#pace.start();
  }

  /** The server answers in order, so the replays of the rooms joined before are complete. */
  #pong(): void {
    this.#isPinged = false;
    for (const room of this.#rooms.values()) room.replayed();
  }

  #left(room: RoomSession | undefined, reason: string | undefined): void {
    if (reason === "evicted") room?.evicted();
    // There may be space now for a room that was one too many.
    for (const each of this.#rooms.values()) each.tryAgain();
  }

  #error(error: ErrorMessage, room: RoomSession | undefined): void {
    const { code, detail, room: name, ref } = error;
    const isTooMuch = code === "rate_limited";
    if (isTooMuch && secondsToWait(detail) === 0) this.#pace.pause(PAUSE);
    if (room !== undefined) room.error(error);
    else if (ref !== undefined) this.#calls.error(error);
    // What was too much was to leave a room, or a ping.
    else if (isTooMuch && name !== undefined) this.#leaving.add(name);
    else if (isTooMuch) this.#isPinged = false;
  }
}
