// The session is a cookie that scripts can't read. The browser sends it by itself, to a server
// of another origin too, if both are of one site.

import { get, post, tryOrigin } from "./accounts/http.js";

export const WITH_COOKIE = { credentials: "include" };

/** The user who is logged in, or null. Rejects when the server can't be asked. */
export async function whoAmI() {
  const answer = await get("auth/me", WITH_COOKIE);
  return answer && { id: answer.id, name: answer.username };
}

/** Rejects with Refused, or with another Error when the server can't be reached. */
export async function login(username, password) {
  await post("auth/login", { username, password }, WITH_COOKIE);
}

/** Rejects as `login` does. */
export async function register(username, password) {
  await post("auth/register", { username, password }, WITH_COOKIE);
}

/** Rejects as `login` does. */
export async function logout() {
  await post("auth/logout", {}, WITH_COOKIE);
}

/** Whether the session is valid. Rejects when the server can't be reached, or refuses. */
export async function check() {
  if ((await whoAmI()) === null) return false;
  await tryOrigin();
  return true;
}
