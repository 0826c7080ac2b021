import { draft, whoIsTyping } from "../chat/words.js";
import { $, element, setText } from "./dom.js";

/** The field for a message, and who else is writing one. */
export class Composer {
  #field = $("#text");
  #onSend;

  constructor({ onSend, onType }) {
    this.#onSend = onSend;
    $("#composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#field.addEventListener("input", () => {
      this.#count();
      onType(this.text);
    });
    this.#field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    $("#skip").addEventListener("click", () => this.#field.focus());
  }

  /** The text that is written but not sent. */
  get text() {
    return this.#field.value;
  }

  /** Write in a room. `text` is what was written there before. */
  open(room, text) {
    $("#composer label").textContent = `Message ${room}`;
    this.#field.value = text;
    this.#count();
    this.showTyping([]);
    this.focus();
  }

  /** Focus the field, unless a screen keyboard would then cover the room. */
  focus() {
    if (matchMedia("(pointer: fine)").matches) this.#field.focus();
  }

  /** Say who is typing. A screen reader announces it only when that has changed. */
  showTyping(names) {
    const pieces = whoIsTyping(names);
    const words = pieces.map(({ text, isName }) => (isName ? element("bdi", "", text) : text));
    $("#typing").replaceChildren(...words);
  }

  #submit() {
    const { toSend } = draft(this.text);
    if (toSend !== "") {
      this.#onSend(toSend);
      this.#field.value = "";
      this.#count();
    }
    this.#field.focus();
  }

  #count() {
    const { counter, isTooLong } = draft(this.text);
    setText($("#counter"), counter);
    this.#field.setAttribute("aria-invalid", String(isTooLong));
    $("#send").disabled = isTooLong;
  }
}
