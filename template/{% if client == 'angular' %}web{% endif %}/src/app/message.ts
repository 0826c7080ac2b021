import { ChangeDetectionStrategy, Component, computed, inject, input, output } from "@angular/core";
import type { MessageRow } from "../chat/rows.js";
import { parts } from "../chat/text.js";
import { dateAndTimeOf, deliveryWords, textOf, timeOf } from "../chat/words.js";
import { Chat } from "./chat.js";
import { TITLE } from "./document.js";

/** A message in the log. */
@Component({
  selector: "li[app-message]",
  changeDetection: ChangeDetectionStrategy.OnPush,
  host: {
    class: "message",
    "[class.own]": "entry().own",
    "[class.application]": "entry().sender === null",
    "[class.follows]": "follows()",
    "[attr.data-id]": "entry().id",
    "[attr.data-state]": "entry().state",
    "[attr.data-sender]": "entry().sender?.id ?? ''",
    "[attr.data-hue]": "hue()",
  },
  templateUrl: "./message.html",
})
export class Message {
  readonly #room = inject(Chat).room();
  protected readonly title = inject(TITLE);
  // Not the row itself: it is new with each message, and then all messages would be checked.
  readonly entry = input.required<MessageRow["entry"]>();
  readonly follows = input.required<boolean>();
  readonly hue = input.required<number | null>();
  /** One of its buttons was pressed, and is gone now. */
  readonly done = output();
  /** The pieces of its text, or null for an event that this page can't show as a text. */
  protected readonly parts = computed(() => {
    const text = textOf(this.entry());
    return text === null ? null : parts(text);
  });
  protected readonly json = computed(() => JSON.stringify(this.entry().data));
  protected readonly time = computed(() => timeOf(this.entry().sentAt));
  protected readonly dateAndTime = computed(() => dateAndTimeOf(this.entry().sentAt));
  protected readonly delivery = computed(() => deliveryWords(this.entry()));

  protected retry(): void {
    this.#room.core.retry(this.entry().key);
    this.done.emit();
  }

  protected discard(): void {
    this.#room.core.discard(this.entry().key);
    this.done.emit();
  }
}
