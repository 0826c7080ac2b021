import { ChangeDetectionStrategy, Component, inject, output, signal } from "@angular/core";
import { badge } from "../chat/words.js";
import { Chat } from "./chat.js";

/** The rooms of this page, with what is unread in them, and a form to enter another one. */
@Component({
  selector: "[app-room-list]",
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: "./room-list.html",
})
export class RoomList {
  protected readonly chat = inject(Chat);
  /** The user has gone to a room. */
  readonly chosen = output();
  protected readonly problem = signal("");
  protected readonly badge = badge;

  protected go(event: Event, input: HTMLInputElement): void {
    event.preventDefault();
    this.problem.set(this.chat.go(input.value.trim()));
    if (this.problem() !== "") return;
    input.value = "";
    this.chosen.emit();
  }
}
