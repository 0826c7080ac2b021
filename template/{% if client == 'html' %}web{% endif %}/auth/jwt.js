// The session is a pair of tokens in localStorage, which the tabs share. Any script
// of this origin can read them: the page's content security policy lets no foreign one run.

import { enterAs } from "./accounts/form.js";
import { Refused, get, post } from "./accounts/http.js";

const KEY = "tokens";
// An access token that expires within this time (milliseconds) is not used any more.
const EARLY = 30_000;

/** Resolves when somebody is logged in. Asks for name and password where needed. */
export async function enter(reason) {
  await enterAs({ whoAmI, login, register, logout }, reason);
}

/** The WebSocket subprotocols to offer, or null without a session. */
export async function protocols() {
  const tokens = await freshTokens();
  return tokens && ["realtime.v1", `bearer.${tokens.access_token}`];
}

/** Whether the session is valid. Rejects when the server can't be reached. */
export async function check() {
  return (await whoAmI()) !== null;
}

async function whoAmI() {
  let tokens = await freshTokens();
  let answer = tokens && (await get("auth/me", bearer(tokens)));
  if (tokens !== null && answer === null) {
    tokens = await freshTokens(tokens);
    answer = tokens && (await get("auth/me", bearer(tokens)));
  }
  return answer?.username ?? null;
}

async function login(username, password) {
  keep(await post("auth/login", { username, password }));
}

async function register(username, password) {
  await post("auth/register", { username, password });
}

async function logout() {
  await alone(async () => {
    const tokens = stored();
    if (tokens !== null) await post("auth/logout", { refresh_token: tokens.refresh_token });
    localStorage.removeItem(KEY);
  });
}

/** Tokens that are good for a while and are not `refused`; null when the session is over. */
async function freshTokens(refused = null) {
  return alone(async () => {
    const tokens = stored();
    if (tokens === null) return null;
    const isRefused = tokens.access_token === refused?.access_token;
    if (!isRefused && tokens.expires_at - Date.now() > EARLY) return tokens;
    try {
      return keep(await post("auth/refresh", { refresh_token: tokens.refresh_token }));
    } catch (error) {
      if (!(error instanceof Refused && error.status === 401)) throw error;
      localStorage.removeItem(KEY);
      return null;
    }
  });
}

/**
 * Run `task` in one tab at a time: a refresh token that is used twice ends the session.
 * Web Locks exist on secure origins (HTTPS and localhost) only.
 */
function alone(task) {
  return navigator.locks ? navigator.locks.request(KEY, task) : task();
}

function stored() {
  return JSON.parse(localStorage.getItem(KEY));
}

function keep({ access_token, refresh_token, expires_in }) {
  const tokens = { access_token, refresh_token, expires_at: Date.now() + expires_in * 1000 };
  localStorage.setItem(KEY, JSON.stringify(tokens));
  return tokens;
}

function bearer({ access_token }) {
  return { Authorization: `Bearer ${access_token}` };
}
