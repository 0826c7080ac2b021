import { ChangeDetectionStrategy, Component, inject } from "@angular/core";
import { Connection } from "./connection.js";

/** What is wrong with the connection, and a button to try again. */
@Component({
  selector: "[app-trouble]",
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <div>
      <p id="trouble-text" role="status">{{ connection.words().trouble }}</p>
      <p id="countdown" aria-hidden="true">{{ connection.countdown() }}</p>
    </div>
    @if (connection.words().button; as words) {
      <button id="reconnect" type="button" (click)="connection.connect()">{{ words }}</button>
    }
  `,
})
export class Trouble {
  protected readonly connection = inject(Connection);
}
