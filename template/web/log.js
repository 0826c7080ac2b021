// Messages of one sender within this time (milliseconds) stand under one name.
const GROUP = 5 * 60_000;
// This close to the end (pixels), the reader counts as being there.
const NEAR = 40;
const HUES = 6;

const time = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const dateAndTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** The messages of the room on display. It follows the end while the reader is there. */
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

  /** Show the entries of a room in place of what was there. */
  show(room) {
    this.#mute();
    this.#room = room;
    this.#list.replaceChildren();
    this.#items.clear();
    for (const entry of [...room.log, ...room.pending.values()]) this.#put(entry);
    this.showEmpty();
    this.#scrollToEnd();
  }

  /** Show a new entry, or what became of one. */
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

  /** Say that nothing was said, once that is known. */
  showEmpty() {
    this.#empty.hidden = this.#items.size > 0 || !this.#room.isKnown;
  }

  #put(entry) {
    const item = this.#items.get(entry) ?? this.#create(entry);
    if (!entry.notice) this.#fill(item, entry);
    // What is not acknowledged stays below what is.
    const waiting = this.#list.querySelector('[data-state="pending"], [data-state="failed"]');
    const isWaiting = entry.state === "pending" || entry.state === "failed";
    const before = isWaiting ? null : waiting;
    // Moving an item that is in place would have it read out again.
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
      text.dir = "auto";
      text.textContent = entry.text;
      item.append(meta, text, element("p", "delivery"));
    }
    this.#items.set(entry, item);
    return item;
  }

  #fill(item, entry) {
    item.dataset.id = entry.id;
    item.dataset.state = entry.state;
    item.dataset.sender = entry.sender;
    item.dataset.hue = hue(entry.sender);
    item.classList.toggle("own", entry.own);
    item.querySelector(".sender").textContent = entry.sender;
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

  // Nobody wants a whole room read out.
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

  // Once a frame, however many messages come: every scroll costs a layout.
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

function hue(name) {
  let sum = 0;
  for (const character of name) sum = (sum * 257 + character.codePointAt(0)) % 65_521;
  return sum % HUES;
}
