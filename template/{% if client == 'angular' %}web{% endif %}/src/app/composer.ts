import {
  afterRenderEffect,
  ChangeDetectionStrategy,
  Component,
  computed,
  DOCUMENT,
  ElementRef,
  inject,
  viewChild,
} from "@angular/core";
import { draft } from "../chat/words.js";
import { Chat } from "./chat.js";

/** The form that sends a message. */
@Component({
  selector: "form[app-composer]",
  changeDetection: ChangeDetectionStrategy.OnPush,
  host: { "(submit)": "submit($event)" },
  templateUrl: "./composer.html",
})
export class Composer {
  protected readonly chat = inject(Chat);
  protected readonly draft = computed(() => draft(this.chat.draft()));
  private readonly field = viewChild.required<ElementRef<HTMLTextAreaElement>>("field");
  // A screen keyboard would cover the room.
  readonly #hasKeyboard = inject(DOCUMENT).defaultView?.matchMedia("(pointer: fine)");

  constructor() {
    afterRenderEffect(() => {
      this.chat.room();
      if (this.#hasKeyboard?.matches) this.#focus();
    });
  }

  protected pressed(event: KeyboardEvent): void {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) this.submit(event);
  }

  protected submit(event: Event): void {
    event.preventDefault();
    const { toSend } = this.draft();
    this.#focus();
    if (toSend !== "") this.chat.send(toSend);
  }

  #focus(): void {
    this.field().nativeElement.focus();
  }
}
