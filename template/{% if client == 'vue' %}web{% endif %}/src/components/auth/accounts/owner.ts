import { Owner } from "../../../chat/auth/accounts/login.js";
import { reload } from "../../../document.js";
import type { Member } from "../../../realtime/index.js";

/** Whom this page is for. */
export const owner = new Owner();

/** Whether the page may go on for a user. If not, a new page replaces it. */
export function mayGoOnAs(user: Member): boolean {
  if (owner.isFor(user)) return true;
  sessionStorage.clear();
  reload();
  return false;
}
