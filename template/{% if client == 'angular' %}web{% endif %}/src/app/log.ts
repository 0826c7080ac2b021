import {
  afterRenderEffect,
  ChangeDetectionStrategy,
  Component,
  computed,
  DestroyRef,
  effect,
  ElementRef,
  inject,
  signal,
  untracked,
} from "@angular/core";
import { isAtEnd, isNearStart } from "../chat/scroll.js";
import { Chat } from "./chat.js";
import { Message } from "./message.js";
import type { RoomSignals } from "./realtime.js";

/** How long (milliseconds) a screen reader needs to notice that it should not read a room. */
const QUIET = 500;

/** The messages of the room on display. It scrolls along while the reader is at the end. */
@Component({
  selector: "[app-log]",
  exportAs: "log",
  imports: [Message],
  changeDetection: ChangeDetectionStrategy.OnPush,
  host: { "(scroll)": "scrolled()", "[attr.aria-live]": "isQuiet() ? 'off' : null" },
  templateUrl: "./log.html",
})
export class Log {
  protected readonly chat = inject(Chat);
  readonly #frame = inject<ElementRef<HTMLElement>>(ElementRef).nativeElement;
  readonly #unseen = signal(0);
  readonly #quiet = signal<ReturnType<typeof setTimeout> | null>(null);
  #room: RoomSignals | null = null;
  #known = 0;
  #atEnd = true;
  #anchor: { element: Element; top: number } | null = null;

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
    effect((onCleanup) => {
      const { core } = this.chat.room();
      onCleanup(
        core.onMessage(({ own }) => {
          if (!own && !this.#atEnd) this.#unseen.update((count) => count + 1);
        }),
      );
    });
    // A screen keyboard makes the frame lower.
    const observer = new ResizeObserver(() => this.#atEnd && this.#scrollToEnd());
    observer.observe(this.#frame);
    inject(DestroyRef).onDestroy(() => {
      observer.disconnect();
      clearTimeout(this.#quiet() ?? undefined);
    });
  }

  protected scrolled(): void {
    this.#atEnd = isAtEnd(this.#frame);
    if (this.#atEnd) this.#unseen.set(0);
    if (isNearStart(this.#frame)) this.loadEarlier();
  }

  goToEnd(): void {
    this.#scrollToEnd();
    this.#unseen.set(0);
  }

  protected loadEarlier(): void {
    const room = this.chat.room();
    if (room.hasEarlier() && !room.isLoading()) void room.loadEarlier();
  }

  /** Take notice of what the reader sees, before the list changes. */
  #beforeRender(): void {
    const room = this.chat.room();
    const entries = room.entries();
    // Recent and earlier messages: a screen reader should not announce them.
    const known = entries.filter((entry) => entry.kind === "message" && !entry.isNew).length;
    if (room !== this.#room || known > this.#known) this.#beQuiet();
    this.#known = known;
    if (room !== this.#room) {
      this.#room = room;
      this.#atEnd = true;
      this.#unseen.set(0);
    }
    this.#anchor = this.#atEnd ? null : this.#firstInView();
  }

  /** Show the end to a reader who was there, and to others what they saw before. */
  #afterRender(): void {
    this.chat.rows();
    if (this.#atEnd) this.#scrollToEnd();
    else if (this.#anchor?.element.isConnected) {
      this.#frame.scrollTop += topOf(this.#anchor.element) - this.#anchor.top;
    }
    this.#anchor = null;
  }

  #firstInView(): { element: Element; top: number } | null {
    const start = topOf(this.#frame);
    for (const element of this.#frame.querySelectorAll("#messages > .message")) {
      const { top, bottom } = element.getBoundingClientRect();
      if (bottom > start) return { element, top };
    }
    return null;
  }

  #scrollToEnd(): void {
    this.#frame.scrollTop = this.#frame.scrollHeight;
    this.#atEnd = true;
  }

  #beQuiet(): void {
    clearTimeout(untracked(this.#quiet) ?? undefined);
    this.#quiet.set(setTimeout(() => this.#quiet.set(null), QUIET));
  }
}

function topOf(element: Element): number {
  return element.getBoundingClientRect().top;
}
