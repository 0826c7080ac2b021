import { Refused } from "../../../auth/accounts/http.js";
import type { Member } from "../../../realtime/index.js";

const UNREACHABLE = "The server can't be reached. Try again in a moment.";
const ENDED = "Your session has ended. Log in again.";
/** By the reason in the close frame: this one says that it was ended, and did not expire. */
const ENDED_BECAUSE: Record<string, string> = {
  "the login has ended":
    "You have been logged out: in another tab, on another device, or by the server. Log in again.",
};
const GOODBYE = "You have logged out.";
/** The key of sessionStorage that says to the next page that the user has logged out. */
const HAS_LEFT = "goodbye";

/** Why the form is there again, although the server accepted the login. */
export const NOT_KEPT =
  "The browser did not keep the session. It may block storage, or this address may need HTTPS.";

export type Mode = "login" | "register";

/** What the form `#account-form` says, and what its password field is for. */
export const MODES = {
  login: {
    title: "Log in",
    other: "No account yet? Register",
    autocomplete: "current-password",
  },
  register: {
    title: "Register",
    other: "Have an account? Log in",
    autocomplete: "new-password",
  },
} as const;

/** Why somebody has to log in again. `reason` is the server's, or "". */
export function whyEnded(reason: string): string {
  return ENDED_BECAUSE[reason] ?? ENDED;
}

/** What to say about a request that failed. */
export function problemOf(error: unknown): string {
  return error instanceof Refused ? error.message : UNREACHABLE;
}

/** What to say when the user could not log out. */
export function logoutProblem(error: unknown): string {
  return `Could not log out. ${problemOf(error)}`;
}

/** What logging out would do to own messages that the server has not acknowledged. */
export function consequence(unsent: number): string {
  if (unsent === 0) return "The server has all of your messages now.";
  if (unsent === 1) return "The server has not confirmed 1 message. It would be lost.";
  return `The server has not confirmed ${unsent} messages. They would be lost.`;
}

// --- A page for one user ------------------------------------------------------

/**
 * The user of this page. Its content is not for another one, who may log in in another tab:
 * for that user, load the page anew.
 */
export class Owner {
  user: Member | null = null;

  /** Whether the page may go on for this user. The first one becomes its owner. */
  isFor(user: Member): boolean {
    this.user ??= user;
    return this.user.id === user.id;
  }
}

/** Forget what this tab keeps over a reload: the user has logged out. */
export function sayGoodbye(store: Storage): void {
  store.clear();
  store.setItem(HAS_LEFT, "");
}

/** What a new page says in its form: a sentence for somebody who has just logged out, or "". */
export function goodbye(store: Storage): string {
  const hasLeft = store.getItem(HAS_LEFT) !== null;
  store.removeItem(HAS_LEFT);
  return hasLeft ? GOODBYE : "";
}
