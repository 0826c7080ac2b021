import { Owner } from "../../../chat/auth/accounts/login.js";
import type { Member } from "../../../realtime/index.js";
import { reload } from "./reload.js";

export const owner = new Owner();

/**
 * Whether the page may go on for a user, who may have logged in in another tab. If it was for
 * somebody else, a new page replaces it.
 */
export function mayGoOnAs(user: Member): boolean {
  if (owner.isFor(user)) return true;
  sessionStorage.clear();
  reload();
  return false;
}
