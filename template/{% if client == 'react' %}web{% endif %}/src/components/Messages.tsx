import { memo, useMemo } from "react";

import { rows, type Row } from "../chat/rows.js";
import type { RoomView } from "../hooks/index.js";
import { MessageItem, type MessageActions } from "./MessageItem.js";
import { useNow } from "./useNow.js";

interface Props {
  room: RoomView;
  unreadFrom: string | null;
  /** The user has pressed a button in a message, which is gone now. */
  onDone: () => void;
}

/** The entries of a room, with separators between them. */
export const Messages = memo(function Messages({ room, unreadFrom, onDone }: Props) {
  const { entries, retry, discard } = room;
  // Today becomes yesterday at midnight.
  const minute = useNow(60_000);
  const all = useMemo(
    () => rows(entries, { unreadFrom, now: new Date(minute) }),
    [entries, unreadFrom, minute],
  );
  const actions = useMemo(
    () => ({
      retry: (key: string) => {
        retry(key);
        onDone();
      },
      discard: (key: string) => {
        discard(key);
        onDone();
      },
    }),
    [retry, discard, onDone],
  );
  return <ol id="messages">{all.map((row) => itemOf(row, actions))}</ol>;
});

function itemOf(row: Row, actions: MessageActions) {
  if (row.kind === "message") {
    const { key, entry, follows, hue } = row;
    return <MessageItem key={key} entry={entry} follows={follows} hue={hue} actions={actions} />;
  }
  return (
    <li key={row.key} className={row.kind}>
      {row.kind === "unread" ? "New messages" : row.text}
    </li>
  );
}
