// Everybody is a guest, with a name from the server.

/** What may be wrong when a handshake fails: HTTP does not tell a guest which it is. */
export const REFUSED =
  "The server does not accept the connection: it is starting or full, you have too many " +
  "open, or its ALLOWED_ORIGINS do not name this address.";

/** Nothing to ask. */
export async function enter() {}

/** A guest is the same person under every name. */
export function goOnAs() {
  return true;
}

/** Nothing to show. */
export async function handshake() {
  return {};
}

/** Guests are always welcome. Rejects when the server can't be reached. */
export async function check() {
  const response = await fetch("healthz", { signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return true;
}
