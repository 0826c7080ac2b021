/** The room of what the application sends to this user alone. */
export const OWN_ROOM = "@me";

const ROOM_NAME = /^[A-Za-z0-9_.:-]{1,64}$/;

/** Whether this is the name of a room that people may enter. `@me` is not one. */
export function isRoomName(name) {
  return ROOM_NAME.test(name);
} /** Read a frame. Returns null for what is not a message. */
export function readFrame(frame) {
  try {
    const message = JSON.parse(String(frame));
    if (typeof message === "object" && message !== null && "type" in message) {
      return message;
    }
  } catch {
    // It is not JSON.
  }
  return null;
}

/** What the server says, as a sentence. */
export function sentence(detail) {
  const end = /[.!?…]$/.test(detail) ? "" : ".";
  return `${detail.charAt(0).toUpperCase()}${detail.slice(1)}${end}`;
}

/** After how many seconds the server can be asked for so much history again; 0 for other details. */
export function secondsToWait(detail) {
  return Number(/try again in (\d+) s$/.exec(detail)?.[1] ?? 0);
}

/** A new id. crypto.randomUUID exists on secure origins only. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
