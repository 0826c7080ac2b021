import {
  ChangeDetectionStrategy,
  Component,
  effect,
  inject,
  type ApplicationConfig,
} from "@angular/core";
import { ChatPage } from "../../chat-page.js";
import { Header } from "../../header.js";
import { MAY_GO_ON_AS, Realtime } from "../../realtime.js";
import { Skip } from "../../skip.js";
import { AccountForm } from "./account-form.js";
import { Session } from "./session.js";
import { Unsent } from "./unsent.js";

/** The page: a form to log in, then the chat. */
@Component({
  selector: "app-root",
  imports: [AccountForm, ChatPage, Header, Skip, Unsent],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <button id="skip" type="button" app-skip>Skip to the message field</button>
    <header app-header>
      <p id="logout-error" class="problem" role="alert">{{ session.logoutProblem() }}</p>
      @if (session.state() === "in") {
        <button id="logout" type="button" (click)="logout(unsent)">Log out</button>
      }
    </header>
    @if (session.state() === "out") {
      <main id="account" class="card" app-account-form></main>
    }
    @if (session.state() === "in") {
      <div id="chat" app-chat-page></div>
    }
    <dialog
      id="unsent"
      class="card"
      aria-labelledby="unsent-title"
      aria-describedby="unsent-text"
      app-unsent
      #unsent="unsent"
    ></dialog>
  `,
})
export class App {
  protected readonly session = inject(Session);
  readonly #realtime = inject(Realtime);

  constructor() {
    this.#realtime.client.onExpired((reason) => void this.session.ended(reason));
    effect(() => {
      if (this.session.state() === "in") void this.#realtime.connect();
    });
    void this.session.start();
  }

  protected async logout(unsent: Unsent): Promise<void> {
    if (await unsent.mayLose()) await this.session.logout();
  }
}

export const config: ApplicationConfig = {
  providers: [
    {
      provide: MAY_GO_ON_AS,
      useFactory: () => {
        const session = inject(Session);
        return session.mayGoOnAs.bind(session);
      },
    },
  ],
};
