import { ChangeDetectionStrategy, Component, inject, type ApplicationConfig } from "@angular/core";
import { ChatPage } from "../chat-page.js";
import { Header } from "../header.js";
import { Realtime } from "../realtime.js";
import { Skip } from "../skip.js";

/** The page. Anybody may come in. */
@Component({
  selector: "app-root",
  imports: [ChatPage, Header, Skip],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <button id="skip" type="button" app-skip>Skip to the message field</button>
    <header app-header></header>
    <div id="chat" app-chat-page></div>
  `,
})
export class App {
  constructor() {
    void inject(Realtime).connect();
  }
}

export const config: ApplicationConfig = { providers: [] };
