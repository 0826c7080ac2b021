import { ChangeDetectionStrategy, Component, DOCUMENT, inject } from "@angular/core";
import { Chat } from "./chat.js";
import { Panel } from "./panel.js";
import { RoomPage } from "./room-page.js";

/** The chat: a panel with rooms and members, and the room on display. */
@Component({
  selector: "[app-chat-page]",
  imports: [Panel, RoomPage],
  changeDetection: ChangeDetectionStrategy.OnPush,
  host: {
    "(window:hashchange)": "chat.showAddressed()",
    "(document:visibilitychange)": "chat.setVisible(!document.hidden)",
  },
  template: `
    <aside id="panel" popover aria-label="Rooms and members" app-panel></aside>
    <main app-room-page></main>
  `,
})
export class ChatPage {
  protected readonly chat = inject(Chat);
  protected readonly document = inject(DOCUMENT);

  constructor() {
    // The address may have changed while nobody was there to see the chat.
    this.chat.showAddressed();
  }
}
