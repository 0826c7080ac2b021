import { useRoom } from "./useRoom.js";

/** Who is in a room: `members` by id, or null in a room that is too large, and their `count`. */
export function usePresence(name: string) {
  const { members, memberCount } = useRoom(name);
  return { members, count: memberCount };
}
