import {
  computed,
  DOCUMENT,
  effect,
  inject,
  Injectable,
  signal,
  type Signal,
  type WritableSignal,
} from "@angular/core";
import { problemWith, roomInAddress, storedRooms, storeRooms } from "../chat/rooms.js";
import { rows } from "../chat/rows.js";
import { Typing } from "../chat/typing.js";
import { titleWith, Unread } from "../chat/unread.js";
import { TITLE } from "./document.js";
import { follow, Realtime, type RoomSignals } from "./realtime.js";

interface TypingSignals {
  typing: Typing;
  names: Signal<readonly string[]>;
}

/** The state of the page: the room on display, what is unread, and the texts being written. */
@Injectable({ providedIn: "root" })
export class Chat {
  readonly #realtime = inject(Realtime);
  readonly #document = inject(DOCUMENT);
  readonly #title = inject(TITLE);
  readonly #unread = new Unread(this.#realtime.client, !this.#document.hidden);
  readonly #unreadVersion = follow(this.#unread, () => this.#unread.version);
  readonly #typing = new WeakMap<RoomSignals, TypingSignals>();
  readonly #drafts = new Map<string, string>();
  readonly #room: WritableSignal<RoomSignals>;

  /** The room on display. */
  readonly room: Signal<RoomSignals>;
  /** The text being written in it. */
  readonly draft = signal("");
  readonly rows = computed(() => {
    this.#unreadVersion();
    const unreadFrom = this.#unread.mark(this.room().name);
    return rows(this.room().entries(), { unreadFrom, now: new Date() });
  });
  /** All rooms, and how many messages of each the user has not seen. */
  readonly rooms = computed(() => {
    this.#unreadVersion();
    const names = [...this.#realtime.rooms().keys()];
    return names.map((name) => ({ name, unread: this.#unread.count(name) }));
  });
  readonly unreadElsewhere = computed(() =>
    this.rooms().some(({ name, unread }) => name !== this.room().name && unread > 0),
  );
  /** The names of other users who are typing in the room on display. */
  readonly typing = computed(() => this.#typingIn(this.room()).names());

  constructor() {
    for (const name of storedRooms(sessionStorage)) this.#realtime.room(name);
    const { name, problem } = roomInAddress(location.hash, null);
    this.#room = signal(this.#realtime.room(name));
    this.room = this.#room.asReadonly();
    this.#shown(problem);
    effect(() => storeRooms(sessionStorage, this.#realtime.rooms().keys()));
    effect(() => {
      this.#unreadVersion();
      this.#document.title = titleWith(this.#title, this.#unread.total);
    });
    // A page that asks before it closes may not be kept for the back button.
    const ask = (event: Event): void => event.preventDefault();
    const isAsking = computed(() => this.#realtime.unsent() > 0);
    effect(() => (window.onbeforeunload = isAsking() ? ask : null));
  }

  /** Show the room that the address names. */
  showAddressed(): void {
    const before = this.room().name;
    const { name, problem } = roomInAddress(location.hash, before);
    if (this.#realtime.client.rooms.has(before)) this.#drafts.set(before, this.draft());
    this.#room.set(this.#realtime.room(name));
    this.draft.set(this.#drafts.get(name) ?? "");
    this.#shown(problem);
  }

  /** Go to a room. Returns what is wrong with its name, or "". */
  go(name: string): string {
    const problem = problemWith(name);
    if (problem === "") location.hash = name;
    return problem;
  }

  leave(name: string): void {
    this.#realtime.leave(name);
    this.#drafts.delete(name);
    if (name !== this.room().name) return;
    const [next] = this.#realtime.client.rooms.keys();
    if (next !== undefined) location.hash = next;
  }

  /** The user has changed the text of a message. */
  typed(text: string): void {
    this.draft.set(text);
    this.#typingIn(this.room()).typing.typed(text);
  }

  send(text: string): void {
    this.draft.set("");
    this.room().publish("chat.message", { text });
  }

  setVisible(isVisible: boolean): void {
    this.#unread.setVisible(isVisible);
  }

  #shown(problem: string): void {
    const { core, name } = this.room();
    this.#realtime.client.focus(name);
    this.#unread.show(name);
    if (problem === "") return;
    core.notice(problem);
    history.replaceState(null, "", `#${name}`);
  }

  #typingIn(room: RoomSignals): TypingSignals {
    const known = this.#typing.get(room);
    if (known !== undefined) return known;
    const typing = new Typing(room.core);
    const added = { typing, names: follow(typing, () => typing.names) };
    this.#typing.set(room, added);
    return added;
  }
}
