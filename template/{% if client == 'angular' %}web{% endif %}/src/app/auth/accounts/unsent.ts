import { ChangeDetectionStrategy, Component, computed, ElementRef, inject } from "@angular/core";
import { consequence } from "../../../chat/auth/accounts/login.js";
import { Realtime } from "../../realtime.js";

/** Asks whether to log out although own messages have not arrived. */
@Component({
  selector: "dialog[app-unsent]",
  exportAs: "unsent",
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <h2 id="unsent-title">Log out?</h2>
    <p id="unsent-text">{{ consequence() }}</p>
    <form method="dialog">
      <button value="stay" class="primary">Stay logged in</button>
      <button value="leave">Log out anyway</button>
    </form>
  `,
})
export class Unsent {
  readonly #dialog = inject<ElementRef<HTMLDialogElement>>(ElementRef).nativeElement;
  readonly #unsent = inject(Realtime).unsent;
  protected readonly consequence = computed(() => consequence(this.#unsent()));

  /** Resolves to whether to log out. If messages would be lost, the user decides. */
  async mayLose(): Promise<boolean> {
    if (this.#unsent() === 0) return true;
    this.#dialog.returnValue = "";
    this.#dialog.showModal();
    await new Promise((resolve) => {
      this.#dialog.addEventListener("close", resolve, { once: true });
    });
    return this.#dialog.returnValue === "leave";
  }
}
