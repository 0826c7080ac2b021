import {
  afterNextRender,
  ChangeDetectionStrategy,
  Component,
  computed,
  ElementRef,
  inject,
  signal,
  viewChild,
} from "@angular/core";
import { MODES, problemOf, type Mode } from "../../../chat/auth/accounts/login.js";
import { DESCRIPTION } from "../../document.js";
import { Session } from "./session.js";

/** The form to log in or to register. */
@Component({
  selector: "[app-account-form]",
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: "./account-form.html",
})
export class AccountForm {
  protected readonly session = inject(Session);
  protected readonly description = inject(DESCRIPTION);
  readonly #mode = signal<Mode>("login");
  protected readonly words = computed(() => MODES[this.#mode()]);
  protected readonly isBusy = signal(false);
  protected readonly isShown = signal(false);
  protected readonly problem = signal("");
  private readonly username = viewChild.required<ElementRef<HTMLInputElement>>("username");
  private readonly password = viewChild.required<ElementRef<HTMLInputElement>>("password");

  constructor() {
    afterNextRender(() => {
      this.username().nativeElement.value = this.session.user?.name ?? "";
      this.#focus();
    });
  }

  protected switchMode(): void {
    this.#setMode(this.#mode() === "login" ? "register" : "login");
  }

  protected async submit(event: Event): Promise<void> {
    event.preventDefault();
    const username = this.username().nativeElement.value;
    const password = this.password().nativeElement.value;
    this.isBusy.set(true);
    this.problem.set("");
    try {
      if (this.#mode() === "register") {
        await this.session.register(username, password);
        this.#setMode("login");
      }
      await this.session.login(username, password);
    } catch (error) {
      this.problem.set(problemOf(error));
      this.password().nativeElement.focus();
    } finally {
      this.isBusy.set(false);
    }
  }

  #setMode(mode: Mode): void {
    this.#mode.set(mode);
    this.problem.set("");
    this.#focus();
  }

  #focus(): void {
    const username = this.username().nativeElement;
    (username.value === "" ? username : this.password().nativeElement).focus();
  }
}
