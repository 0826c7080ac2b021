// Everybody is a guest. The server chooses the name.

/** Why a handshake may fail. The page can't find out which of them it is. */
export const REFUSED =
  "The server does not accept the connection: it is starting or full, you have too many " +
  "open, or its ALLOWED_ORIGINS do not name this address.";

/** Guests need no credential. */
export async function enter() {}

/** The server makes a new guest for every connection. The person is the same. */
export function goOnAs() {
  return true;
}

/** Guests have no credentials. */
export async function handshake() {
  return {};
}

/** Guests are always welcome. Rejects when the server can't be reached. */
export async function check() {
  const response = await fetch("healthz", { signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return true;
}
