/** How many characters a message may have (`ChatMessage` in app/events.py). */
export const MAX_TEXT = 4096;
/** How near to that limit (characters) the counter appears. */
const COUNTER = 200;
/** How many members are listed by name. */
const LISTED = 200;

const STATES = {
  idle: "",
  connecting: "Connecting…",
  open: "Connected",
  waiting: "Reconnecting…",
  closed: "Disconnected",
  expired: "Disconnected",
};
export const SILENT = { state: "", trouble: "", button: "", isTrying: false };

/**
 * Describe a state of the connection. `before` is what this function returned last: the
 * reason of a failure stays while the next attempt is made.
 */
export function connectionWords({ state, reason }, before) {
  const isTrying = state === "connecting" && (before.isTrying || before.button === "Try now");
  return {
    state: STATES[isTrying ? "waiting" : state],
    trouble: isTrying ? before.trouble : reason,
    button: state === "waiting" ? "Try now" : state === "closed" ? "Connect again" : "",
    isTrying,
  };
}

/** For `#countdown`: when the next attempt is made. `now` is in milliseconds, as Date.now(). */
export function countdown(retryAt, isTrying, now) {
  if (retryAt === null) return isTrying ? "Trying…" : "";
  return `Next attempt in ${Math.max(0, Math.ceil((retryAt - now) / 1000))} s.`;
}
/** "ada and bob are typing…" */
export function whoIsTyping(names) {
  const [one, other] = names;
  if (one === undefined) return [];
  if (names.length > 2) return [word("Several people are typing…")];
  if (other === undefined) return [name(one), word(" is typing…")];
  return [name(one), word(" and "), name(other), word(" are typing…")];
}
/** `members` is null in a room that is too large for a list. */
export function memberList(members, memberCount) {
  const all = [...(members?.values() ?? [])];
  all.sort((one, other) => one.name.localeCompare(other.name));
  const listed = all.slice(0, LISTED);
  const left = memberCount - listed.length;
  if (left <= 0) return { listed, more: "" };
  const more = listed.length > 0 ? `and ${left} more` : "This room is too large for a list.";
  return { listed, more };
}

function word(text) {
  return { text, isName: false };
}

function name(text) {
  return { text, isName: true };
}

// --- Messages -----------------------------------------------------------------

/** The text of a message, or null for an event that this page can't show as a text. */
export function textOf(entry) {
  // The application of today may send other data than the one this page was made for.
  const data = entry.data;
  if (entry.event !== "chat.message" || typeof data !== "object" || data === null) return null;
  return "text" in data && typeof data.text === "string" ? data.text : null;
}

/** For `.delivery`: what is to say about an own message. */
export function deliveryWords({ state, reason }) {
  return { sent: "", pending: "Sending…", failed: reason }[state];
}

const time = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const dateAndTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** The time of a message: its day is in the separator above it. */
export function timeOf(date) {
  return time.format(date);
}

/** The date and time of a message, for its tooltip. */
export function dateAndTimeOf(date) {
  return dateAndTime.format(date);
}

/** For `#new-messages`, the button that leads to the end of the log. */
export function newMessages(count) {
  return count === 1 ? "1 new message" : `${count} new messages`;
}

/** For `.badge`: the count of unread messages. */
export function badge(unread) {
  return unread > 99 ? "99+" : String(unread);
}
export function draft(text) {
  const trimmed = text.trimEnd();
  const left = MAX_TEXT - lengthOf(trimmed);
  const isTooLong = left < 0;
  return { toSend: isTooLong ? "" : trimmed, counter: counter(left), isTooLong };
}

function counter(left) {
  if (left < 0) return `${-left} characters too many: at most ${MAX_TEXT} fit in a message.`;
  return left <= COUNTER ? `${left} characters left.` : "";
}

/** As the server counts: characters, not UTF-16 code units. */
function lengthOf(text) {
  return Array.from(text).length;
}
