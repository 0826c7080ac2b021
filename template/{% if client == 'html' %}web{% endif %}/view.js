const MAX_TEXT = 4096;
// How near to the limit (characters) the counter appears.
const COUNTER = 200;
// How many members are listed by name.
const LISTED = 200;

const STATES = {
  idle: "",
  connecting: "Connecting…",
  open: "Connected",
  waiting: "Reconnecting…",
  closed: "Disconnected",
  expired: "Disconnected",
};

const $ = (selector) => document.querySelector(selector);

/** Everything on the page but the messages. */
export class View {
  #title = document.title;
  #rooms = new Map();
  #ticking = 0;
  #reconnecting = false;

  constructor({ onSend, onType, onRoom, onLeave, onReconnect }) {
    $("#composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit(onSend);
    });
    $("#text").addEventListener("input", () => {
      this.#count();
      onType(this.draft);
    });
    $("#text").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit(onSend);
    });
    $("#room-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const problem = onRoom($("#room-name").value.trim());
      this.roomProblem(problem);
      if (problem) return;
      $("#room-name").value = "";
      $("#panel").hidePopover();
    });
    $("#rooms").addEventListener("click", ({ target }) => {
      const item = target.closest("[data-room]");
      if (target.closest(".leave")) onLeave(item.dataset.room);
      else if (target.closest("a")) $("#panel").hidePopover();
    });
    $("#reconnect").addEventListener("click", onReconnect);
    $("#skip").addEventListener("click", () => $("#text").focus());
    // Wide windows show the panel beside the messages, not over them.
    matchMedia("(min-width: 48rem)").addEventListener("change", () => $("#panel").hidePopover());
  }

  showState({ state, reason, retryAt }) {
    clearInterval(this.#ticking);
    if (state === "waiting") this.#reconnecting = true;
    else if (state !== "connecting") this.#reconnecting = false;
    const trying = this.#reconnecting && state === "connecting";
    const connection = $("#connection");
    connection.dataset.state = state;
    setText(connection, STATES[trying ? "waiting" : state]);
    if (!trying) setText($("#trouble-text"), reason);
    $("#reconnect").hidden = state !== "waiting" && state !== "closed";
    $("#reconnect").textContent = state === "closed" ? "Connect again" : "Try now";
    if (retryAt === null) {
      $("#countdown").textContent = trying ? "Trying…" : "";
    } else {
      this.#tick(retryAt);
      this.#ticking = setInterval(() => this.#tick(retryAt), 1000);
    }
  }

  showUser(user) {
    $("#user").textContent = user?.name ?? "";
  }

  /**
   * Whether the browser asks before it closes the page. A page that asks may not be kept for
   * the back button.
   */
  askBeforeUnload(isAsking) {
    window.onbeforeunload = isAsking ? (event) => event.preventDefault() : null;
  }

  /** Mark the current room, and show what is unread in the others. */
  showRooms(rooms, current) {
    const all = [...rooms];
    for (const [name, item] of this.#rooms) {
      if (!all.some((room) => room.name === name)) {
        item.remove();
        this.#rooms.delete(name);
      }
    }
    let unread = 0;
    for (const room of all) {
      unread += room.unread;
      const item = this.#rooms.get(room.name) ?? this.#addRoom(room.name);
      if (room === current) item.querySelector("a").setAttribute("aria-current", "page");
      else item.querySelector("a").removeAttribute("aria-current");
      item.querySelector(".leave").hidden = all.length === 1;
      const badge = item.querySelector(".badge");
      badge.hidden = room.unread === 0;
      badge.querySelector("span").textContent = room.unread > 99 ? "99+" : room.unread;
    }
    document.title = unread > 0 ? `(${unread}) ${this.#title}` : this.#title;
    $("#unread-elsewhere").hidden = unread === current.unread;
  }

  showRoom(room) {
    $("#room-title").textContent = room.name;
    $("#text").value = room.draft;
    $("#composer label").textContent = `Message ${room.name}`;
    this.#count();
    this.focus();
  }

  /** Focus the message field, unless a screen keyboard would then cover the room. */
  focus() {
    if (matchMedia("(pointer: fine)").matches) $("#text").focus();
  }

  showMembers(room, user) {
    const members = [...(room.members?.values() ?? [])];
    members.sort((one, other) => one.name.localeCompare(other.name));
    const items = members.slice(0, LISTED).map(({ id, name }) => {
      const item = document.createElement("li");
      item.dataset.user = id;
      item.append(isolated(name), id === user.id ? " (you)" : "");
      return item;
    });
    if (room.memberCount > items.length) {
      const more = document.createElement("li");
      more.textContent =
        items.length > 0
          ? `and ${room.memberCount - items.length} more`
          : "This room is too large for a list.";
      items.push(more);
    }
    $("#members").replaceChildren(...items);
    for (const count of document.querySelectorAll(".member-count")) {
      count.textContent = room.memberCount;
    }
  }

  /** Say who is typing. A screen reader announces it only when that has changed. */
  showTyping(room) {
    const words = new DocumentFragment();
    words.append(...whoIsTyping(room.typing.names));
    if ($("#typing").textContent !== words.textContent) $("#typing").replaceChildren(words);
  }

  roomProblem(problem) {
    $("#room-error").textContent = problem;
    $("#room-name").setAttribute("aria-invalid", String(problem !== ""));
  }

  /** The text that is written but not sent. */
  get draft() {
    return $("#text").value;
  }

  #submit(onSend) {
    const text = this.draft.trimEnd();
    if (text !== "" && lengthOf(text) <= MAX_TEXT) {
      $("#text").value = "";
      this.#count();
      onSend(text);
    }
    $("#text").focus();
  }

  #count() {
    const left = MAX_TEXT - lengthOf(this.draft.trimEnd());
    let words = "";
    if (left < 0) words = `${-left} characters too many: at most ${MAX_TEXT} fit in a message.`;
    else if (left <= COUNTER) words = `${left} characters left.`;
    setText($("#counter"), words);
    $("#text").setAttribute("aria-invalid", String(left < 0));
    $("#send").disabled = left < 0;
  }

  #tick(retryAt) {
    const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    $("#countdown").textContent = `Next attempt in ${seconds} s.`;
  }

  #addRoom(name) {
    const item = $("#room-item").content.firstElementChild.cloneNode(true);
    item.dataset.room = name;
    item.querySelector("a").href = `#${name}`;
    item.querySelector(".name").textContent = name;
    item.querySelector(".leave").setAttribute("aria-label", `Leave ${name}`);
    $("#rooms").append(item);
    this.#rooms.set(name, item);
    return item;
  }
}

function whoIsTyping(names) {
  if (names.length === 0) return [];
  if (names.length > 2) return ["Several people are typing…"];
  const [one, other] = names.map(isolated);
  return other ? [one, " and ", other, " are typing…"] : [one, " is typing…"];
}

/** A name whose writing direction does not affect the text around it. */
function isolated(name) {
  const node = document.createElement("bdi");
  node.textContent = name;
  return node;
}

// As the server counts: characters, not UTF-16 code units.
function lengthOf(text) {
  return [...text].length;
}

/** A screen reader announces every assignment to a live region, so assign only changes. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
