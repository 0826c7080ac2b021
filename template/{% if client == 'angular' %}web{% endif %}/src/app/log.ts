import {
  afterRenderEffect,
  ChangeDetectionStrategy,
  Component,
  computed,
  DestroyRef,
  DOCUMENT,
  effect,
  ElementRef,
  inject,
  signal,
  untracked,
} from "@angular/core";
import type { Row } from "../chat/rows.js";
import { isAtEnd, isNearStart } from "../chat/scroll.js";
import { Chat } from "./chat.js";
import { Message } from "./message.js";
import type { RoomSignals } from "./realtime.js";

/** How long (milliseconds) a screen reader announces nothing after a change of what is past. */
const QUIET = 500;
/** How many items keep the reader's place. The first ones may be removed. */
const ANCHORS = 3;

/** An item, and where its end is in the window (pixels). */
interface Anchor {
  item: Element;
  bottom: number;
}

/** The messages of the room on display. It scrolls along while the reader is at the end. */
@Component({
  selector: "[app-log]",
  exportAs: "log",
  imports: [Message],
  changeDetection: ChangeDetectionStrategy.OnPush,
  host: {
    "(scroll)": "scrolled()",
    "[attr.aria-live]": "isQuiet() ? 'off' : null",
  },
  templateUrl: "./log.html",
})
export class Log {
  protected readonly chat = inject(Chat);
  readonly #frame = inject<ElementRef<HTMLElement>>(ElementRef).nativeElement;
  readonly #document = inject(DOCUMENT);
  readonly #unseen = signal(0);
  readonly #quiet = signal<ReturnType<typeof setTimeout> | null>(null);
  #room: RoomSignals | null = null;
  #keys = new Set<string>();
  #anchors: Anchor[] = [];
  #atEnd = true;
  #scrollTop = 0;

  /** How many messages came below the part that the reader looks at. */
  readonly unseen = this.#unseen.asReadonly();
  protected readonly isQuiet = computed(() => this.#quiet() !== null);
  protected readonly isEmpty = computed(() => {
    const room = this.chat.room();
    return room.isKnown() && room.entries().length === 0;
  });

  constructor() {
    effect(() => this.#beforeRender());
    afterRenderEffect(() => this.#afterRender());
    // A screen keyboard makes the frame lower.
    const observer = new ResizeObserver(() => this.#atEnd && this.#scrollToEnd());
    observer.observe(this.#frame);
    inject(DestroyRef).onDestroy(() => {
      observer.disconnect();
      clearTimeout(this.#quiet() ?? undefined);
    });
  }

  focus(): void {
    this.#frame.focus();
  }

  goToEnd(): void {
    this.#scrollToEnd();
    this.focus();
  }

  protected scrolled(): void {
    const isUpward = this.#frame.scrollTop < this.#scrollTop;
    this.#scrollTop = this.#frame.scrollTop;
    this.#atEnd = isAtEnd(this.#frame);
    if (this.#atEnd) this.#unseen.set(0);
    if (isUpward && isNearStart(this.#frame)) this.loadEarlier();
  }

  protected loadEarlier(): void {
    const room = this.chat.room();
    if (room.hasEarlier() && !room.isLoading()) void room.loadEarlier();
  }

  /** Take notice of what is new and of what the reader sees, before the items change. */
  #beforeRender(): void {
    const room = this.chat.room();
    const rows = this.chat.rows();
    if (room !== this.#room) this.#open(room);
    const added = rows.filter(({ key }) => !this.#keys.has(key));
    this.#keys = new Set(rows.map(({ key }) => key));
    // A screen reader should not announce a whole room.
    if (added.some(isPast)) this.#beQuiet();
    if (added.some(isWritten)) this.#atEnd = true;
    if (this.#atEnd) this.#unseen.set(0);
    else this.#unseen.update((count) => count + added.filter(isNews).length);
    this.#anchors = this.#atEnd ? [] : this.#firstInView();
    const isOnEarlier = this.#document.activeElement?.id === "earlier";
    if (isOnEarlier && !room.hasEarlier()) this.focus();
  }

  #open(room: RoomSignals): void {
    this.#room = room;
    this.#keys.clear();
    this.#atEnd = true;
    this.#beQuiet();
  }

  /** Show the end to a reader who was there, and to others what they saw before. */
  #afterRender(): void {
    this.chat.rows();
    const anchor = this.#anchors.find(({ item }) => item.isConnected);
    this.#anchors = [];
    if (this.#atEnd) this.#scrollToEnd();
    else if (anchor) this.#frame.scrollTop += bottomOf(anchor.item) - anchor.bottom;
  }

  #firstInView(): Anchor[] {
    const { top } = this.#frame.getBoundingClientRect();
    const anchors: Anchor[] = [];
    for (const item of this.#frame.querySelectorAll(".message")) {
      const bottom = bottomOf(item);
      if (bottom > top) anchors.push({ item, bottom });
      if (anchors.length === ANCHORS) break;
    }
    return anchors;
  }

  #scrollToEnd(): void {
    this.#frame.scrollTop = this.#frame.scrollHeight;
    this.#atEnd = true;
    this.#unseen.set(0);
  }

  #beQuiet(): void {
    clearTimeout(untracked(this.#quiet) ?? undefined);
    this.#quiet.set(setTimeout(() => this.#quiet.set(null), QUIET));
  }
}

/** The end of a message: its start moves when one above it is of the same sender. */
function bottomOf(item: Element): number {
  return item.getBoundingClientRect().bottom;
}

/** What was said before the page came, or the reader scrolled back to it. */
function isPast(row: Row): boolean {
  return row.kind === "message" && !row.entry.isNew;
}

/** What the user has just written. */
function isWritten(row: Row): boolean {
  return row.kind === "message" && row.entry.state === "pending";
}

function isNews(row: Row): boolean {
  return row.kind === "notice" || (row.kind === "message" && row.entry.isNew);
}
