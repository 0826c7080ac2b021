import { badge, memberList } from "../chat/words.js";
import { $, element, setText } from "./dom.js";

/** The rooms of this page, and the members of the one on display. */
export class Panel {
  // The items of the list, by the name of the room.
  #rooms = new Map();
  // The members on display, and which of them is the user.
  #members;
  #you;

  constructor({ onRoom, onLeave }) {
    $("#room-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const problem = onRoom($("#room-name").value.trim());
      $("#room-error").textContent = problem;
      $("#room-name").setAttribute("aria-invalid", String(problem !== ""));
      if (problem !== "") return;
      $("#room-name").value = "";
      $("#panel").hidePopover();
    });
    $("#rooms").addEventListener("click", ({ target }) => {
      const item = target.closest("[data-room]");
      if (target.closest(".leave")) onLeave(item.dataset.room);
      else if (target.closest("a")) $("#panel").hidePopover();
    });
    // Wide windows show the panel beside the messages, not over them.
    matchMedia("(min-width: 48rem)").addEventListener("change", () => $("#panel").hidePopover());
  }

  /** Mark the room on display, and show what is unread in the others. */
  showRooms(names, current, unread) {
    for (const [name, item] of this.#rooms) {
      if (names.includes(name)) continue;
      item.remove();
      this.#rooms.delete(name);
    }
    for (const name of names) {
      const item = this.#rooms.get(name) ?? this.#addRoom(name);
      if (name === current) item.querySelector("a").setAttribute("aria-current", "page");
      else item.querySelector("a").removeAttribute("aria-current");
      item.querySelector(".leave").hidden = names.length === 1;
      const count = unread.count(name);
      item.querySelector(".badge").hidden = count === 0;
      setText(item.querySelector(".badge span"), badge(count));
    }
    $("#unread-elsewhere").hidden = unread.total === unread.count(current);
  }

  showMembers({ members, memberCount }, user) {
    for (const count of document.querySelectorAll(".member-count"))
      setText(count, `${memberCount}`);
    if (members !== null && members === this.#members && user === this.#you) return;
    this.#members = members;
    this.#you = user;
    const { listed, more } = memberList(members, memberCount);
    const items = listed.map(({ id, name }) => {
      const item = element("li");
      item.dataset.user = id;
      item.append(element("bdi", "", name), id === user?.id ? " (you)" : "");
      return item;
    });
    if (more !== "") items.push(element("li", "", more));
    $("#members").replaceChildren(...items);
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
