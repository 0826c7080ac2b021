// Everybody is a guest, with a name from the server.

/** Nothing to ask. */
export async function enter() {}

/** The WebSocket subprotocols to offer. */
export async function protocols() {
  return ["realtime.v1"];
}

/** Guests are always welcome. Rejects when the server can't be reached. */
export async function check() {
  const response = await fetch("healthz", { signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return true;
}
