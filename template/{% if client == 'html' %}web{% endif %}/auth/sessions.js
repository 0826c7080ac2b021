// The session is a cookie that scripts can't read. The browser sends it by itself.

import { enterAs } from "./accounts/form.js";
import { get, post, tryOrigin } from "./accounts/http.js";

export { goOnAs } from "./accounts/form.js";

/** Resolves when somebody is logged in. The parameters are those of `enterAs`. */
export async function enter(ended, countUnsent) {
  await enterAs({ whoAmI, login, register, logout }, ended, countUnsent);
}

/** Whether the session is valid. Rejects when the server can't be reached, or refuses. */
export async function check() {
  if ((await whoAmI()) === null) return false;
  await tryOrigin();
  return true;
}

async function whoAmI() {
  const answer = await get("auth/me");
  return answer && { id: answer.id, name: answer.username };
}

async function login(username, password) {
  await post("auth/login", { username, password });
}

async function register(username, password) {
  await post("auth/register", { username, password });
}

async function logout() {
  await post("auth/logout", {});
}
