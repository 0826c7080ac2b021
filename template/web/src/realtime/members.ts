import type { Presence } from "./protocol.js";
import type { Member } from "./types.js";

// The longest list. In a room with more members, only their number is known.
const MOST = 10_000;

/** Who is in a room. */
export class Members {
  /** By id; null in a room that is too large for a list. */
  list: ReadonlyMap<string, Member> | null = new Map();
  count = 0;

  /** All of them, or only how many there are. */
  set(members: Member[] | undefined, count = members?.length ?? 0): void {
    const isList = members !== undefined && members.length <= MOST;
    this.list = isList ? new Map(members.map((user) => [user.id, user])) : null;
    this.count = count;
  }

  /**
   * Users came or left. A large room says only how many are there, and all of its `members`
   * when it has become small again.
   */
  presence({ user, users = user ? [user] : [], event, count, members }: Presence): void {
    if (count !== undefined) this.set(members, count);
    else if (this.list === null) this.count += (event === "join" ? 1 : -1) * users.length;
    else {
      const list = new Map(this.list);
      for (const each of users) {
        if (event === "join") list.set(each.id, each);
        else list.delete(each.id);
      }
      this.set([...list.values()]);
    }
  }
}
