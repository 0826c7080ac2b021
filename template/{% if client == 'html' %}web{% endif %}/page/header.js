import { titleWith } from "../chat/unread.js";
import { SILENT, connectionWords, countdown } from "../chat/words.js";
import { $, setText } from "./dom.js";

/** The state of the connection, what is wrong with it, and who the user is. */
export class Header {
  #title = document.title;
  #words = SILENT;
  #ticking = 0;

  constructor({ onReconnect }) {
    $("#reconnect").addEventListener("click", onReconnect);
  }

  showStatus(status) {
    this.#words = connectionWords(status, this.#words);
    const { state, trouble, button, isTrying } = this.#words;
    $("#connection").dataset.state = status.state;
    setText($("#connection"), state);
    setText($("#trouble-text"), trouble);
    $("#reconnect").hidden = button === "";
    setText($("#reconnect"), button);
    const tick = () => setText($("#countdown"), countdown(status.retryAt, isTrying, Date.now()));
    tick();
    clearInterval(this.#ticking);
    if (status.retryAt !== null) this.#ticking = setInterval(tick, 1000);
  }

  showUser(user) {
    setText($("#user"), user?.name ?? "");
  }

  /** Say in the title how many messages are unread. */
  showUnread(count) {
    document.title = titleWith(this.#title, count);
  }
}
