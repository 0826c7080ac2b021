import { useEffect, useRef } from "react";

import type { Application } from "../events.js";
import type { RoomView } from "../hooks/index.js";
import type { Member, Room } from "../realtime/index.js";
import { MemberList } from "./MemberList.js";
import { RoomForm } from "./RoomForm.js";
import { RoomList } from "./RoomList.js";

interface Props {
  /** The room on display. */
  room: RoomView;
  rooms: ReadonlyMap<string, Room<Application>>;
  user: Member | null;
  /** How many messages of a room are unread. */
  unread: (room: string) => number;
}

/** Rooms and members: beside the messages, or over them in a narrow window. */
export function Panel({ room, rooms, user, unread }: Props) {
  const panel = useRef<HTMLElement>(null);
  const close = () => {
    panel.current?.hidePopover();
  };
  useEffect(() => {
    const isWide = matchMedia("(min-width: 48rem)");
    isWide.addEventListener("change", close);
    return () => {
      isWide.removeEventListener("change", close);
    };
  }, []);

  return (
    <aside id="panel" ref={panel} popover="auto" aria-label="Rooms and members">
      <button id="close-panel" type="button" popoverTarget="panel" popoverTargetAction="hide">
        Close
      </button>
      <nav aria-labelledby="rooms-title">
        <h2 id="rooms-title">Rooms</h2>
        <RoomList names={[...rooms.keys()]} current={room.name} unread={unread} onOpen={close} />
        <RoomForm onOpen={close} />
      </nav>
      <section aria-labelledby="members-title">
        <h2 id="members-title">
          Members (<span className="member-count">{room.memberCount}</span>)
        </h2>
        <MemberList members={room.members} count={room.memberCount} userId={user?.id} />
      </section>
    </aside>
  );
}
