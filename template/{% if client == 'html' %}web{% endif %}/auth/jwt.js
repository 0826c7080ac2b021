// The session is a pair of tokens in IndexedDB, which the tabs share. Any script of this
// origin can read them: the page's content security policy lets no foreign one run.

import { enterAs } from "./accounts/form.js";
import { Refused, get, post } from "./accounts/http.js";

// The name of the database, of its one store, of the one record there, and of the lock.
const TOKENS = "tokens";
// An access token that expires within this time (milliseconds) is not used any more.
const EARLY = 30_000;

/** Resolves when somebody is logged in; `again` says that a session has just ended. */
export async function enter({ again }) {
  await enterAs({ whoAmI, login, register, logout }, again);
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
  await keep(await post("auth/login", { username, password }));
}

async function register(username, password) {
  await post("auth/register", { username, password });
}

async function logout() {
  await alone(async () => {
    const tokens = await stored();
    if (tokens !== null) await post("auth/logout", { refresh_token: tokens.refresh_token });
    await forget();
  });
}

/** Tokens that are good for a while and are not `refused`; null when the session is over. */
async function freshTokens(refused = null) {
  return alone(async () => {
    const tokens = await stored();
    if (tokens === null) return null;
    const isRefused = tokens.access_token === refused?.access_token;
    if (!isRefused && tokens.expires_at - Date.now() > EARLY) return tokens;
    try {
      return await keep(await post("auth/refresh", { refresh_token: tokens.refresh_token }));
    } catch (error) {
      if (!(error instanceof Refused && error.status === 401)) throw error;
      await forget();
      return null;
    }
  });
}

/**
 * Run `task` in one tab at a time: a refresh token that is used twice ends the session.
 * Web Locks exist on secure origins (HTTPS and localhost) only.
 */
function alone(task) {
  return navigator.locks ? navigator.locks.request(TOKENS, task) : task();
}

async function stored() {
  return (await inStore("readonly", (store) => store.get(TOKENS))) ?? null;
}

async function keep({ access_token, refresh_token, expires_in }) {
  const tokens = { access_token, refresh_token, expires_at: Date.now() + expires_in * 1000 };
  await inStore("readwrite", (store) => store.put(tokens, TOKENS));
  return tokens;
}

async function forget() {
  await inStore("readwrite", (store) => store.delete(TOKENS));
}

/**
 * Do one thing with the store and return the result. localStorage would not do: what
 * one tab writes there, another still reads in its old state, even under a lock.
 */
async function inStore(mode, action) {
  const database = await openDatabase();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(TOKENS, mode);
      const request = action(transaction.objectStore(TOKENS));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}

function openDatabase() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(TOKENS, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(TOKENS);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function bearer({ access_token }) {
  return { Authorization: `Bearer ${access_token}` };
}
