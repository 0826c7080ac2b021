import { useRoom } from "./useRoom.js";

/** Who is in a room: `members` by id, or null in a room that is too large for a list. */
export function usePresence(name: string) {
  const { members, memberCount } = useRoom(name);
  return { members, memberCount };
}
