import { memo } from "react";

import { dateAndTimeOf, deliveryWords, textOf, timeOf } from "../chat/words.js";
import type { Application } from "../events.js";
import { APPLICATION } from "../page.js";
import type { MessageEntry } from "../realtime/index.js";
import { LinkedText } from "./LinkedText.js";

export interface MessageActions {
  retry: (key: string) => void;
  discard: (key: string) => void;
}

interface Props {
  entry: MessageEntry<Application>;
  /** Whether it needs no name of its own. */
  follows: boolean;
  /** The colour of the sender's name; null for what the application itself says. */
  hue: number | null;
  actions: MessageActions;
}

export const MessageItem = memo(function MessageItem({ entry, follows, hue, actions }: Props) {
  const { sender, sentAt } = entry;
  const kinds = ["message", sender === null && "application", entry.own && "own"];
  return (
    <li
      className={[...kinds, follows && "follows"].filter(Boolean).join(" ")}
      data-id={entry.id}
      data-state={entry.state}
      data-sender={sender?.id ?? ""}
      data-hue={hue ?? undefined}
    >
      <p className="meta">
        <bdi className="sender">{sender?.name ?? APPLICATION}</bdi>{" "}
        <time dateTime={sentAt.toISOString()} title={dateAndTimeOf(sentAt)}>
          {timeOf(sentAt)}
        </time>
      </p>
      <Content entry={entry} />
      <Delivery entry={entry} actions={actions} />
    </li>
  );
});

/** The text, or the name and the data of an event that this page does not know. */
function Content({ entry }: Pick<Props, "entry">) {
  const text = textOf(entry);
  if (text === null) {
    return (
      <p className="text">
        <span className="event">{entry.event}</span> <code>{JSON.stringify(entry.data)}</code>
      </p>
    );
  }
  return (
    <p className="text" dir="auto">
      <LinkedText text={text} />
    </p>
  );
}

function Delivery({ entry, actions }: Pick<Props, "entry" | "actions">) {
  const words = deliveryWords(entry);
  if (entry.state !== "failed") return <p className="delivery">{words}</p>;
  return (
    <p className="delivery">
      {words}{" "}
      <button
        type="button"
        className="link retry"
        onClick={() => {
          actions.retry(entry.key);
        }}
      >
        Try again
      </button>{" "}
      <button
        type="button"
        className="link discard"
        onClick={() => {
          actions.discard(entry.key);
        }}
      >
        Discard
      </button>
    </p>
  );
}
