// The session is a cookie that scripts can't read. The browser sends it by itself.

import { enterAs } from "./accounts/form.js";
import { get, post } from "./accounts/http.js";

/** Resolves when somebody is logged in; `again` says that a session has just ended. */
export async function enter({ again }) {
  await enterAs({ whoAmI, login, register, logout }, again);
}

/** The WebSocket subprotocols to offer. */
export async function protocols() {
  return ["realtime.v1"];
}

/** Whether the session is valid. Rejects when the server can't be reached. */
export async function check() {
  return (await whoAmI()) !== null;
}

async function whoAmI() {
  const answer = await get("auth/me");
  return answer?.username ?? null;
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
