import { isRoomName } from "../realtime/index.js";

export const DEFAULT_ROOM = "lobby";

export const BAD_NAME =
  "A room's name is 1 to 64 letters (A to Z), digits, dots, colons, hyphens and underscores.";

/** The key of sessionStorage that holds the rooms of this tab. */
const STORED = "rooms";
/** How much of a bad name (characters) is repeated to the user. */
const REPEATED = 100;
/** `current` is the room on display, if there is one. It stays if the address names none. */
export function roomInAddress(hash, current) {
  const name = hash.replace(/^#/, "") || DEFAULT_ROOM;
  if (isRoomName(name)) return { name, problem: "" };
  const problem = `There is no room “${readable(name)}”. ${BAD_NAME}`;
  return { name: current ?? DEFAULT_ROOM, problem };
}

/** What is wrong with a name that the user typed, or "". */
export function problemWith(name) {
  return isRoomName(name) ? "" : BAD_NAME;
}
/** The rooms to enter again after a reload. */
export function storedRooms(store) {
  let stored;
  try {
    stored = JSON.parse(store.getItem(STORED) ?? "[]");
  } catch {
    return [];
  }
  if (!Array.isArray(stored)) return [];
  return stored.filter((name) => typeof name === "string" && isRoomName(name));
}

/** Remember the rooms of this tab, in their order. */
export function storeRooms(store, names) {
  store.setItem(STORED, JSON.stringify([...names]));
}

/** A name from the address, without its percent-encoding, and not too long. */
function readable(name) {
  try {
    return decodeURIComponent(name).slice(0, REPEATED);
  } catch {
    return name.slice(0, REPEATED);
  }
}
