/** Messages of one sender within this time (milliseconds) are shown under one name. */
const GROUP = 5 * 60_000;
/** How many colours the names of senders have (`[data-hue]` in style.css). */
const HUES = 6; /** The log of a room as it is shown: its entries, with separators between them. */
export function rows(entries, options) {
  const shown = [];
  // The clocks of servers differ, so a message may be a little older than the one above it.
  // Each day begins once.
  let latest = 0;
  for (const entry of entries) {
    if (entry.kind === "message" && dayOf(entry.sentAt) > latest) {
      latest = dayOf(entry.sentAt);
      shown.push({ kind: "day", key: `day-${latest}`, text: dayName(entry.sentAt, options.now) });
    }
    if (entry.key === options.unreadFrom) shown.push({ kind: "unread", key: "unread" });
    if (entry.kind === "notice") {
      shown.push({ kind: "notice", key: entry.key, text: entry.text });
    } else {
      const follows = isSoonAfter(shown.at(-1), entry);
      const hue = entry.sender === null ? null : hueOf(entry.sender.id);
      shown.push({ kind: "message", key: entry.key, entry, follows, hue });
    }
  }
  return shown;
}

/** "Today", "Yesterday", or the full date, in the language of the browser. */
export function dayName(date, now) {
  const day = dayOf(date);
  if (day === dayOf(now)) return "Today";
  const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
  if (day === dayOf(yesterday)) return "Yesterday";
  return fullDate.format(date);
}

const fullDate = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });

/** The date where the reader is, as a number that grows: 20260131. */
function dayOf(date) {
  return date.getFullYear() * 10_000 + (date.getMonth() + 1) * 100 + date.getDate();
}

function isSoonAfter(row, entry) {
  return (
    row?.kind === "message" &&
    row.entry.sender?.id === entry.sender?.id &&
    entry.sentAt.getTime() - row.entry.sentAt.getTime() < GROUP
  );
}

/** A colour that depends on the id alone, so that a user has the same one everywhere. */
export function hueOf(id) {
  let sum = 0;
  for (const character of id) sum = (sum * 257 + (character.codePointAt(0) ?? 0)) % 65_521;
  return sum % HUES;
}
