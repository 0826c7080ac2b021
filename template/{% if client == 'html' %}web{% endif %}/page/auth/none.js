/** Everybody may enter. */
export async function enter() {}

/** The server makes a new user for every connection. The person is the same. */
export function mayGoOnAs() {
  return true;
}
