import { rows } from "../chat/rows.js";
import { isAtEnd, isNearStart } from "../chat/scroll.js";
import { newMessages } from "../chat/words.js";
import { $, setText } from "./dom.js";
import { fill, makeItem } from "./message.js";

// How long (milliseconds) a screen reader announces nothing after a change of what is past.
const SILENCE = 500;
// How many messages may keep the reader's place: a long log drops the first ones.
const HELD = 3;

/** The log of the room on display. It scrolls along while the reader is at the end. */
export class Log {
  #frame = $("#log");
  #list = $("#messages");
  #earlier = $("#earlier");
  #newMessages = $("#new-messages");
  #room = null;
  // What is shown, by the key of its row: { item, row }.
  #shown = new Map();
  #unseen = 0;
  #atEnd = true;
  #scrollTop = 0;
  #scheduled = false;
  #muted = 0;
  #actions;
  #onEarlier;

  constructor({ onRetry, onDiscard, onEarlier }) {
    const thenFocus = (action) => (key) => {
      action(key);
      this.#frame.focus();
    };
    this.#actions = { onRetry: thenFocus(onRetry), onDiscard: thenFocus(onDiscard) };
    this.#onEarlier = onEarlier;
    this.#frame.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#earlier.addEventListener("click", onEarlier);
    this.#newMessages.addEventListener("click", () => {
      this.#scrollToEnd();
      this.#frame.focus();
    });
    // A screen keyboard makes the frame lower.
    new ResizeObserver(() => this.#atEnd && this.#scrollToEnd()).observe(this.#frame);
  }

  /** Show the entries of a room, and no others. `unreadFrom` is the key of the first unread one. */
  show(room, unreadFrom) {
    if (room !== this.#room) this.#open(room);
    const all = rows(room.entries, { unreadFrom, now: new Date() });
    const added = all.filter(({ key }) => !this.#shown.has(key));
    if (added.some(isPast)) this.#mute();
    const keepPlace = this.#atEnd ? () => {} : this.#holdPlace();
    this.#showEarlier();
    this.#place(all);
    $("#empty").hidden = room.entries.length > 0 || !room.isKnown;
    if (this.#atEnd || added.some(isWritten)) {
      this.#scheduleScroll();
    } else {
      keepPlace();
      this.#countUnseen(this.#unseen + added.filter(isNews).length);
    }
  }

  #open(room) {
    this.#mute();
    this.#room = room;
    this.#list.replaceChildren();
    this.#shown.clear();
    this.#atEnd = true;
    this.#countUnseen(0);
  }

  #showEarlier() {
    const { hasEarlier, isLoading } = this.#room;
    if (!hasEarlier && document.activeElement === this.#earlier) this.#frame.focus();
    this.#earlier.hidden = !hasEarlier;
    this.#earlier.setAttribute("aria-disabled", String(isLoading));
    setText(this.#earlier, isLoading ? "Loading…" : "Earlier messages");
  }

  /**
   * Give each row its place. A screen reader would announce an item again that is moved for
   * no reason.
   */
  #place(all) {
    const keys = new Set(all.map(({ key }) => key));
    for (const [key, { item }] of this.#shown) {
      if (keys.has(key)) continue;
      item.remove();
      this.#shown.delete(key);
    }
    let next = this.#list.firstElementChild;
    for (const row of all) {
      const item = this.#itemOf(row);
      if (item === next) next = next.nextElementSibling;
      else this.#list.insertBefore(item, next);
    }
  }

  #itemOf(row) {
    const before = this.#shown.get(row.key);
    const item = before?.item ?? makeItem(row);
    if (!isSame(before?.row, row)) fill(item, row, this.#actions);
    this.#shown.set(row.key, { item, row });
    return item;
  }

  /**
   * Returns what puts the first visible messages back in their place after a change above
   * them. Their lower ends stay where they are: the first one may lose its sender's name.
   */
  #holdPlace() {
    const { top } = this.#frame.getBoundingClientRect();
    const places = [];
    for (const item of this.#list.querySelectorAll(".message")) {
      const { bottom } = item.getBoundingClientRect();
      if (bottom > top) places.push({ item, bottom });
      if (places.length === HELD) break;
    }
    return () => {
      const held = places.find(({ item }) => item.isConnected);
      if (held === undefined) return;
      this.#frame.scrollTop += held.item.getBoundingClientRect().bottom - held.bottom;
    };
  }

  // A screen reader should not announce a whole room.
  #mute() {
    clearTimeout(this.#muted);
    this.#frame.setAttribute("aria-live", "off");
    this.#muted = setTimeout(() => this.#frame.removeAttribute("aria-live"), SILENCE);
  }

  #scrolled() {
    const isUpward = this.#frame.scrollTop < this.#scrollTop;
    this.#scrollTop = this.#frame.scrollTop;
    this.#atEnd = isAtEnd(this.#frame);
    if (this.#atEnd) this.#countUnseen(0);
    if (isUpward && isNearStart(this.#frame) && this.#room.hasEarlier) this.#onEarlier();
  }

  // At most once a frame, because every scroll costs a layout.
  #scheduleScroll() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      this.#scrollToEnd();
    });
  }

  #scrollToEnd() {
    this.#frame.scrollTop = this.#frame.scrollHeight;
    this.#atEnd = true;
    this.#countUnseen(0);
  }

  #countUnseen(count) {
    this.#unseen = count;
    this.#newMessages.hidden = count === 0;
    this.#newMessages.textContent = newMessages(count);
  }
}

function isSame(before, row) {
  return (
    before !== undefined &&
    before.entry === row.entry &&
    before.follows === row.follows &&
    before.text === row.text
  );
}

/** What was said before the page came, or the reader scrolled back to it. */
function isPast(row) {
  return row.kind === "message" && !row.entry.isNew;
}

/** What the user has just written. */
function isWritten(row) {
  return row.kind === "message" && row.entry.state === "pending";
}

function isNews(row) {
  return row.kind === "notice" || (row.kind === "message" && row.entry.isNew);
}
