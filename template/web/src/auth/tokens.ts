// The session is a pair of tokens in IndexedDB, which all tabs share. Any script of this
// origin can read them, so the page's content security policy allows no foreign script.

import type { Member } from "../realtime/index.js";
import { Refused, get, post, tryOrigin } from "./accounts/http.js";

// The name of the database, of its only store, of the only record in it, and of the lock.
const TOKENS = "tokens";
// The part of its lifetime after which an access token is exchanged for a new one.
const FRESH = 0.8;
// Milliseconds until the next attempt, after the server could not be asked for new tokens.
const RETRY = 10_000;

/** What the server answers to a login or a refresh. */
interface TokenPair {
  access_token: string;
  refresh_token: string;
  /** Seconds. */
  expires_in: number;
}

interface Tokens {
  access_token: string;
  refresh_token: string;
  /** When to exchange the access token for a new one, and when it is invalid (Date.now()). */
  stale_at: number;
  expires_at: number;
}

/** The user who is logged in, or null. Rejects when the server can't be asked. */
export async function whoAmI(): Promise<Member | null> {
  let tokens = await freshTokens();
  let answer = tokens && (await askWhoIs(tokens));
  if (tokens !== null && answer === null) {
    tokens = await freshTokens(tokens);
    answer = tokens && (await askWhoIs(tokens));
  }
  return answer && { id: answer.id, name: answer.username };
}

/** Rejects with Refused, or with another Error when the server can't be reached. */
export async function login(username: string, password: string): Promise<void> {
  await keep((await post("auth/login", { username, password })) as TokenPair);
}

/** Rejects as `login` does. */
export async function register(username: string, password: string): Promise<void> {
  await post("auth/register", { username, password });
}

/** Rejects as `login` does. */
export async function logout(): Promise<void> {
  await alone(async () => {
    const tokens = await stored();
    if (tokens !== null) await post("auth/logout", { refresh_token: tokens.refresh_token });
    await forget();
  });
}

/** Whether the session is valid. Rejects when the server can't be reached, or refuses. */
export async function check(): Promise<boolean> {
  if ((await whoAmI()) === null) return false;
  await tryOrigin();
  return true;
}

/** Tokens that are valid for a while and are not `refused`; null when the session is over. */
export async function freshTokens(refused: Tokens | null = null): Promise<Tokens | null> {
  return alone(async () => {
    const tokens = await stored();
    if (tokens === null) return null;
    const isRefused = tokens.access_token === refused?.access_token;
    if (!isRefused && Date.now() < tokens.stale_at) return tokens;
    try {
      const { refresh_token } = tokens;
      return await keep((await post("auth/refresh", { refresh_token })) as TokenPair);
    } catch (error) {
      if (!(error instanceof Refused && error.status === 401)) throw error;
      await forget();
      return null;
    }
  });
}

/**
 * Keep a socket open for longer than its access token is valid: `send` a fresh token in
 * time, again and again. Returns a function that stops this.
 */
export function keepFresh(tokens: Tokens, send: (message: object) => void): () => void {
  let isOpen = true;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const schedule = ({ stale_at, expires_at }: Tokens): void => {
    // Tabs do this at different moments, so that the first one renews the tokens for all.
    const spread = (Math.random() * (expires_at - stale_at)) / 2;
    timer = setTimeout(() => void renew(), stale_at - Date.now() + spread);
  };
  const renew = async (): Promise<void> => {
    const fresh = await freshTokens().catch(() => undefined);
    // The session is over, so the server is about to close the socket.
    if (!isOpen || fresh === null) return;
    if (fresh === undefined) {
      timer = setTimeout(() => void renew(), RETRY);
    } else {
      send({ type: "refresh", token: fresh.access_token });
      schedule(fresh);
    }
  };
  schedule(tokens);
  return () => {
    isOpen = false;
    clearTimeout(timer);
  };
}

async function askWhoIs({
  access_token,
}: Tokens): Promise<{ id: string; username: string } | null> {
  const headers = { Authorization: `Bearer ${access_token}` };
  return (await get("auth/me", { headers })) as { id: string; username: string } | null;
}

/**
 * Run `task` in one tab at a time, because a refresh token that is used twice ends the
 * session. Web Locks exist on secure origins (HTTPS and localhost) only.
 */
function alone<Result>(task: () => Promise<Result>): Promise<Result> {
  return "locks" in navigator ? navigator.locks.request(TOKENS, task) : task();
}

async function stored(): Promise<Tokens | null> {
  const tokens: unknown = await inStore("readonly", (store) => store.get(TOKENS));
  return (tokens as Tokens | undefined) ?? null;
}

async function keep({ access_token, refresh_token, expires_in }: TokenPair): Promise<Tokens> {
  const now = Date.now();
  const stale_at = now + expires_in * 1000 * FRESH;
  const expires_at = now + expires_in * 1000;
  const tokens = { access_token, refresh_token, stale_at, expires_at };
  await inStore("readwrite", (store) => store.put(tokens, TOKENS));
  return tokens;
}

async function forget(): Promise<void> {
  await inStore("readwrite", (store) => store.delete(TOKENS));
}

/**
 * Do one thing with the store and return the result. localStorage is not enough: a tab may
 * still read the old value after another tab has written, even under a lock.
 */
async function inStore<Result>(
  mode: IDBTransactionMode,
  action: (store: IDBObjectStore) => IDBRequest<Result>,
): Promise<Result> {
  const database = await openDatabase();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(TOKENS, mode);
      const request = action(transaction.objectStore(TOKENS));
      transaction.oncomplete = () => {
        resolve(request.result);
      };
      transaction.onabort = () => {
        reject(transaction.error ?? new Error("The browser's storage failed."));
      };
    });
  } finally {
    database.close();
  }
}

function openDatabase(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(TOKENS, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(TOKENS);
    request.onsuccess = () => {
      resolve(request.result);
    };
    request.onerror = () => {
      reject(request.error ?? new Error("The browser's storage can't be opened."));
    };
  });
}
