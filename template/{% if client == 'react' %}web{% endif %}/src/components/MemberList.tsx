import { memo } from "react";

import { memberList } from "../chat/words.js";
import type { Member } from "../realtime/index.js";

interface Props {
  /** By id; null in a room that is too large for a list. */
  members: ReadonlyMap<string, Member> | null;
  count: number;
  /** This user's. */
  userId: string | undefined;
}

export const MemberList = memo(function MemberList({ members, count, userId }: Props) {
  const { listed, more } = memberList(members, count);
  return (
    <ul id="members">
      {listed.map(({ id, name }) => (
        <li key={id} data-user={id}>
          <bdi>{name}</bdi>
          {id === userId && " (you)"}
        </li>
      ))}
      {more !== "" && <li>{more}</li>}
    </ul>
  );
});
