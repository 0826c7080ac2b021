import { useEffect } from "react";

import { storeRooms } from "../chat/rooms.js";
import { useConnection, useClient, useRoom } from "../hooks/index.js";
import { Composer } from "./Composer.js";
import { Log } from "./Log.js";
import { Panel } from "./Panel.js";
import { Trouble } from "./Trouble.js";
import { useAddress } from "./useAddress.js";
import { useUnread } from "./useUnread.js";

interface Props {
  isHidden?: boolean;
}

/** The rooms, and the one that the address names. */
export function Chat({ isHidden = false }: Props) {
  const client = useClient();
  const { unsent, rooms, user } = useConnection();
  const name = useAddress();
  const room = useRoom(name, { keep: true });
  const unread = useUnread(name);

  useEffect(() => {
    client.focus(name);
  }, [client, name]);
  useEffect(() => {
    storeRooms(sessionStorage, rooms.keys());
  }, [rooms]);
  useEffect(() => {
    // A page that asks before it is closed may not be kept for the back button.
    window.onbeforeunload = unsent > 0 ? askBeforeUnload : null;
  }, [unsent]);

  return (
    <div id="chat" hidden={isHidden}>
      <Panel room={room} rooms={rooms} user={user} unread={unread.count} />
      <main>
        <div id="room">
          <h2 id="room-title">{name}</h2>
          <button id="open-panel" type="button" popoverTarget="panel">
            Rooms
            <span id="unread-elsewhere" hidden={unread.total === unread.count(name)}>
              {" "}
              (unread messages)
            </span>
            , <span className="member-count">{room.memberCount}</span> here
          </button>
        </div>
        <Trouble />
        <Log key={name} room={room} unreadFrom={unread.mark} />
        <Composer room={room} isHidden={isHidden} />
      </main>
    </div>
  );
}

function askBeforeUnload(event: BeforeUnloadEvent): void {
  event.preventDefault();
}
