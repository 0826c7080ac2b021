import { MESSAGE } from "./events.js";

// Messages of one sender within this time (milliseconds) are shown under one name.
const GROUP = 5 * 60_000;
// This close to the end (pixels), the reader counts as being at the end.
const NEAR = 40;
const HUES = 6;
// The sender of what the application itself published: its name, as in the page's header.
const APPLICATION = document.querySelector("h1").textContent;

const time = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const dateAndTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** The messages of the room on display. It scrolls along while the reader is at the end. */
export class Log {
  #frame = document.querySelector("#log");
  #list = document.querySelector("#messages");
  #newMessages = document.querySelector("#new-messages");
  #empty = document.querySelector("#empty");
  #room = null;
  #items = new Map();
  #unseen = 0;
  #atEnd = true;
  #scheduled = false;
  #muted = 0;
  #onRetry;
  #onDiscard;

  constructor({ onRetry, onDiscard }) {
    this.#onRetry = onRetry;
    this.#onDiscard = onDiscard;
    this.#frame.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#newMessages.addEventListener("click", () => {
      this.#scrollToEnd();
      this.#frame.focus();
    });
    // A screen keyboard makes the frame lower.
    new ResizeObserver(() => this.#atEnd && this.#scrollToEnd()).observe(this.#frame);
  }

  /** Show the entries of a room, and no others. */
  show(room) {
    this.#mute();
    this.#room = room;
    this.#list.replaceChildren();
    this.#items.clear();
    for (const entry of [...room.log, ...room.pending.values()]) this.#put(entry);
    this.showEmpty();
    this.#scrollToEnd();
  }

  /** Show a new entry, or the new state of one. */
  put(entry) {
    const isNew = !this.#items.has(entry);
    if (!entry.isNew && !entry.notice) this.#mute();
    this.#put(entry);
    this.showEmpty();
    if (this.#atEnd || (isNew && entry.state === "pending")) this.#scheduleScroll();
    else if (isNew) this.#countUnseen(this.#unseen + 1);
  }

  remove(entry) {
    const item = this.#items.get(entry);
    const next = item.nextElementSibling;
    this.#items.delete(entry);
    item.remove();
    group(next);
    this.showEmpty();
  }

  /** Say that there are no messages, once that is known. */
  showEmpty() {
    this.#empty.hidden = this.#items.size > 0 || !this.#room.isKnown;
  }

  #put(entry) {
    const item = this.#items.get(entry) ?? this.#create(entry);
    if (!entry.notice) this.#fill(item, entry);
    // Unacknowledged messages stay below the others.
    const waiting = this.#list.querySelector('[data-state="pending"], [data-state="failed"]');
    const isWaiting = entry.state === "pending" || entry.state === "failed";
    const before = isWaiting ? null : waiting;
    // A screen reader would announce an item again that is moved for no reason.
    if (!item.isConnected || (!isWaiting && isBefore(waiting, item))) {
      this.#list.insertBefore(item, before);
    }
    group(item);
    group(item.nextElementSibling);
  }

  #create(entry) {
    const item = element("li", entry.notice ? "notice" : "message");
    if (entry.notice) {
      item.textContent = entry.notice;
    } else {
      const meta = element("p", "meta");
      meta.append(element("bdi", "sender"), " ", element("time"));
      const text = element("p", "text");
      if (entry.event === MESSAGE && typeof entry.data?.text === "string") {
        text.dir = "auto";
        text.textContent = entry.data.text;
      } else {
        text.append(...eventAndData(entry));
      }
      item.append(meta, text, element("p", "delivery"));
    }
    this.#items.set(entry, item);
    return item;
  }

  #fill(item, entry) {
    const { sender } = entry;
    item.dataset.id = entry.id;
    item.dataset.state = entry.state;
    item.dataset.sender = sender?.id ?? "";
    if (sender !== null) item.dataset.hue = hue(sender.id);
    item.classList.toggle("application", sender === null);
    item.classList.toggle("own", entry.own);
    item.querySelector(".sender").textContent = sender?.name ?? APPLICATION;
    const sentAt = item.querySelector("time");
    const isToday = entry.sentAt.toDateString() === new Date().toDateString();
    sentAt.dateTime = entry.sentAt.toISOString();
    sentAt.title = dateAndTime.format(entry.sentAt);
    sentAt.textContent = (isToday ? time : dateAndTime).format(entry.sentAt);
    item.querySelector(".delivery").replaceChildren(...this.#delivery(entry));
  }

  #delivery(entry) {
    if (entry.state === "sent") return [];
    if (entry.state === "pending") return ["Sending…"];
    const retry = element("button", "link retry");
    retry.type = "button";
    retry.textContent = "Send again";
    retry.addEventListener("click", () => this.#onRetry(entry));
    const discard = element("button", "link discard");
    discard.type = "button";
    discard.textContent = "Discard";
    discard.addEventListener("click", () => this.#onDiscard(entry));
    return [`${entry.reason} `, retry, " ", discard];
  }

  // A screen reader should not announce a whole room.
  #mute() {
    clearTimeout(this.#muted);
    this.#frame.setAttribute("aria-live", "off");
    this.#muted = setTimeout(() => this.#frame.removeAttribute("aria-live"), 500);
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#frame;
    this.#atEnd = scrollHeight - scrollTop - clientHeight < NEAR;
    if (this.#atEnd) this.#countUnseen(0);
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
    this.#newMessages.textContent = count === 1 ? "1 new message" : `${count} new messages`;
  }
}

function element(name, className = "") {
  const created = document.createElement(name);
  created.className = className;
  return created;
}

/** An event that this page does not know: its name, and its data as JSON. */
function eventAndData({ event, data }) {
  const name = element("span", "event");
  name.textContent = event;
  const json = element("code");
  json.textContent = JSON.stringify(data);
  return [name, " ", json];
}

function isBefore(one, other) {
  return Boolean(one?.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING);
}

/** A message right after one of the same sender needs no name of its own. */
function group(item) {
  const previous = item?.previousElementSibling;
  const follows =
    item?.dataset.sender !== undefined &&
    item.dataset.sender === previous?.dataset.sender &&
    sentAt(item) - sentAt(previous) < GROUP;
  item?.classList.toggle("follows", follows);
}

function sentAt(item) {
  return Date.parse(item.querySelector("time").dateTime);
}

function hue(id) {
  let sum = 0;
  for (const character of id) sum = (sum * 257 + character.codePointAt(0)) % 65_521;
  return sum % HUES;
}
