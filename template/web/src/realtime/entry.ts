import type { Message } from "./protocol.js";
import type { MessageEntry } from "./types.js";

/** What tells a message in a log from all others. */
export function keyOf(id: string): string {
  return `message-${id}`;
}

/** A message of the server, as an entry of a log. */
export function entryOf(message: Message, own: boolean, isNew: boolean): MessageEntry {
  const { id, offset, event, data, sender = null, sent_at } = message;
  const sentAt = new Date(sent_at);
  const fields = { key: keyOf(id), id, offset, event, data, sender, own, sentAt, isNew };
  return { kind: "message", ...fields, state: "sent", reason: "" };
}
