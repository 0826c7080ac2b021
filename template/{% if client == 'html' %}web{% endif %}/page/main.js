import { credentials } from "../auth/index.js";
import { problemWith, roomInAddress, storedRooms, storeRooms } from "../chat/rooms.js";
import { Typing } from "../chat/typing.js";
import { Unread } from "../chat/unread.js";
import { Client } from "../realtime/index.js";
import { enter, mayGoOnAs } from "./auth/index.js";
import { Composer } from "./composer.js";
import { $, setText } from "./dom.js";
import { Header } from "./header.js";
import { Log } from "./log.js";
import { Panel } from "./panel.js";

// How often to look whether another day has begun (milliseconds): today becomes yesterday.
const LOOK = 60_000;

const client = new Client(credentials, { mayGoOnAs });
const unread = new Unread(client, !document.hidden);
// What is written but not sent, by the name of the room.
const drafts = new Map();
// The room on display, who is typing in it, and what ends the listening to both.
let room = null;
let typing = null;
let stop = () => {};

const header = new Header({ onReconnect: () => client.connect() });

const log = new Log({
  onRetry: (key) => room.retry(key),
  onDiscard: (key) => room.discard(key),
  onEarlier: () => room.loadEarlier(),
});

const composer = new Composer({
  onSend: (text) => room.publish("chat.message", { text }),
  onType: (text) => typing.typed(text),
});

const panel = new Panel({
  onRoom: (name) => {
    const problem = problemWith(name);
    if (problem === "") location.hash = name;
    return problem;
  },
  onLeave: (name) => {
    client.leave(name);
    drafts.delete(name);
    remember();
    if (name === room.name) location.hash = [...client.rooms.keys()][0];
  },
});

/** Show the room that the address names. */
function showAddress() {
  const { name, problem } = roomInAddress(location.hash, room?.name ?? null);
  show(client.enter(name));
  if (problem === "") return;
  room.notice(problem);
  history.replaceState(null, "", `#${name}`);
}

function show(shown) {
  if (room !== null && client.rooms.has(room.name)) drafts.set(room.name, composer.text);
  stop();
  room = shown;
  typing = new Typing(room);
  const stopListening = room.subscribe(showRoom);
  typing.subscribe(() => composer.showTyping(typing.names));
  stop = () => {
    stopListening();
    typing.close();
  };
  client.focus(room.name);
  unread.show(room.name);
  setText($("#room-title"), room.name);
  composer.open(room.name, drafts.get(room.name) ?? "");
  showRoom();
  remember();
}

function showRoom() {
  panel.showMembers(room, client.user);
  log.show(room, unread.mark(room.name));
}

function showClient() {
  header.showStatus(client.status);
  header.showUser(client.status.state === "expired" ? null : client.user);
  askBeforeUnload(client.unsent > 0);
  showRooms();
  showRoom();
}

function showRooms() {
  panel.showRooms([...client.rooms.keys()], room.name, unread);
  header.showUnread(unread.total);
}

/**
 * Whether the browser asks before it closes the page. A page that asks may not be kept for
 * the back button.
 */
function askBeforeUnload(isAsking) {
  window.onbeforeunload = isAsking ? (event) => event.preventDefault() : null;
}

// After a reload, the page enters the same rooms.
function remember() {
  storeRooms(sessionStorage, client.rooms.keys());
}

/** Connect as soon as there is a user. `ended` says why the last session ended. */
async function start(ended) {
  await enter(ended, () => client.unsent);
  composer.focus();
  client.connect();
}

for (const name of storedRooms(sessionStorage)) client.enter(name);
showAddress();
showRooms();
client.subscribe(showClient);
client.onExpired(start);
unread.subscribe(() => {
  showRooms();
  showRoom();
});
addEventListener("hashchange", showAddress);
setInterval(showRoom, LOOK);
document.addEventListener("visibilitychange", () => unread.setVisible(!document.hidden));
start();
