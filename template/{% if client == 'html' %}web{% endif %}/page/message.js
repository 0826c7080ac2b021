import { parts } from "../chat/text.js";
import { dateAndTimeOf, deliveryWords, textOf, timeOf } from "../chat/words.js";
import { $, button, element, setText } from "./dom.js";

// The sender of what the application itself published: its name, as in the page's header.
const APPLICATION = $("h1").textContent;

/** An item for a row of the log. `fill` gives it its content. */
export function makeItem(row) {
  const item = element("li", row.kind);
  if (row.kind !== "message") return item;
  const meta = element("p", "meta");
  meta.append(element("bdi", "sender"), " ", element("time"));
  const text = element("p", "text");
  text.append(...content(row.entry));
  if (textOf(row.entry) !== null) text.dir = "auto";
  item.append(meta, text, element("p", "delivery"));
  return item;
}

/** Show what may change in a row. */
export function fill(item, row, actions) {
  if (row.kind === "message") fillMessage(item, row, actions);
  else setText(item, row.kind === "unread" ? "New messages" : row.text);
}

function fillMessage(item, { entry, follows, hue }, actions) {
  const { sender, sentAt } = entry;
  item.dataset.id = entry.id;
  item.dataset.state = entry.state;
  item.dataset.sender = sender?.id ?? "";
  if (hue !== null) item.dataset.hue = hue;
  item.classList.toggle("application", sender === null);
  item.classList.toggle("own", entry.own);
  item.classList.toggle("follows", follows);
  setText(item.querySelector(".sender"), sender?.name ?? APPLICATION);
  const time = item.querySelector("time");
  time.dateTime = sentAt.toISOString();
  time.title = dateAndTimeOf(sentAt);
  setText(time, timeOf(sentAt));
  item.querySelector(".delivery").replaceChildren(...delivery(entry, actions));
}

/** The text with its links, or the name and the data of an event that this page does not know. */
function content(entry) {
  const text = textOf(entry);
  if (text === null) {
    return [
      element("span", "event", entry.event),
      " ",
      element("code", "", JSON.stringify(entry.data)),
    ];
  }
  return parts(text).map((part) => (part.href === undefined ? part.text : link(part)));
}

function link({ href, text }) {
  const created = element("a", "", text);
  created.href = href;
  created.target = "_blank";
  created.rel = "noopener noreferrer nofollow";
  return created;
}

function delivery(entry, { onRetry, onDiscard }) {
  const words = deliveryWords(entry);
  if (entry.state !== "failed") return words === "" ? [] : [words];
  const retry = button("link retry", "Try again", () => onRetry(entry.key));
  const discard = button("link discard", "Discard", () => onDiscard(entry.key));
  return [`${words} `, retry, " ", discard];
}
