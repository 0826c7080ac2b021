import { ChangeDetectionStrategy, Component, computed, inject } from "@angular/core";
import { Connection } from "./connection.js";
import { TITLE } from "./document.js";
import { Realtime } from "./realtime.js";

/** The header of the page: its name, the state of the connection, and who the user is. */
@Component({
  selector: "[app-header]",
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <h1>{{ title }}</h1>
    <p
      id="connection"
      role="status"
      [attr.data-state]="connection.status().state"
      [textContent]="connection.words().state"
    ></p>
    <p id="user">{{ user() }}</p>
    <ng-content />
  `,
})
export class Header {
  protected readonly title = inject(TITLE);
  protected readonly connection = inject(Connection);
  readonly #user = inject(Realtime).user;
  protected readonly user = computed(() =>
    this.connection.status().state === "expired" ? "" : this.#user()?.name,
  );
}
