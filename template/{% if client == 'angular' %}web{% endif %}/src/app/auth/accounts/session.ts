import { inject, Injectable, InjectionToken, signal } from "@angular/core";
import * as auth from "../../../auth/index.js";
import {
  goodbye,
  logoutProblem,
  NOT_KEPT,
  Owner,
  sayGoodbye,
  whyEnded,
} from "../../../chat/auth/accounts/login.js";
import type { Member } from "../../../realtime/index.js";
import { RELOAD } from "./reload.js";

type Requests = Pick<typeof auth, "login" | "logout" | "register" | "whoAmI">;

/** The requests that log in and out. Tests provide others. */
export const REQUESTS = new InjectionToken<Requests>("REQUESTS", { factory: () => auth });

/** Who is logged in. */
@Injectable({ providedIn: "root" })
export class Session {
  readonly #owner = new Owner();
  readonly #requests = inject(REQUESTS);
  readonly #reload = inject(RELOAD);
  /** "asking" until the server has said whether somebody is logged in. */
  readonly state = signal<"asking" | "out" | "in">("asking");
  /** Why there is a form: a sentence for people, or "". */
  readonly reason = signal("");
  /** Why the user could not log out, or "". */
  readonly logoutProblem = signal("");
  #leaving: Promise<void> | null = null;

  /** The user of this page, also after the session has ended. */
  get user(): Member | null {
    return this.#owner.user;
  }

  /** Ask the server who is logged in. */
  async start(): Promise<void> {
    await this.#enter(goodbye(sessionStorage));
  }

  /** Nobody is logged in any more. `reason` is the server's. */
  async ended(reason: string): Promise<void> {
    await this.#leaving;
    this.reason.set(whyEnded(reason));
    this.state.set("out");
  }

  async login(username: string, password: string): Promise<void> {
    await this.#requests.login(username, password);
    await this.#enter(NOT_KEPT);
  }

  async register(username: string, password: string): Promise<void> {
    await this.#requests.register(username, password);
  }

  /** Log out, and begin with a new page, which knows only that somebody has logged out. */
  logout(): Promise<void> {
    this.#leaving ??= this.#leave();
    return this.#leaving;
  }

  /** Whether the page may go on for a user. If it was for somebody else, a new one begins. */
  mayGoOnAs(user: Member): boolean {
    if (this.#owner.isFor(user)) return true;
    sessionStorage.clear();
    this.#reload();
    return false;
  }

  /** Show the chat, or the form if nobody is logged in. */
  async #enter(reasonForForm: string): Promise<void> {
    // If the server can't be asked, the connection will find out.
    const user = await this.#requests.whoAmI().catch(() => undefined);
    if (user === null) {
      this.reason.set(reasonForForm);
      this.state.set("out");
    } else if (user === undefined || this.mayGoOnAs(user)) {
      this.state.set("in");
    }
  }

  async #leave(): Promise<void> {
    try {
      await this.#requests.logout();
    } catch (error) {
      this.logoutProblem.set(logoutProblem(error));
      this.#leaving = null;
      return;
    }
    sayGoodbye(sessionStorage);
    this.#reload();
    // Nothing happens on this page any more.
    await new Promise(() => undefined);
  }
}
