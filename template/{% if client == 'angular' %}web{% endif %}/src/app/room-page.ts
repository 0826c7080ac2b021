import { ChangeDetectionStrategy, Component, computed, inject } from "@angular/core";
import { newMessages, whoIsTyping } from "../chat/words.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { Log } from "./log.js";
import { Trouble } from "./trouble.js";

/** The room on display: its messages, and the form that sends one. */
@Component({
  selector: "[app-room-page]",
  imports: [Composer, Log, Trouble],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: "./room-page.html",
})
export class RoomPage {
  protected readonly chat = inject(Chat);
  protected readonly typing = computed(() => whoIsTyping(this.chat.typing()));
  protected readonly newMessages = newMessages;
}
