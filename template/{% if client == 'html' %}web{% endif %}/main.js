import * as auth from "./auth/index.js";
import { Connection } from "./connection.js";
import { Log } from "./log.js";
import { Rooms, isRoomName } from "./rooms.js";
import { View } from "./view.js";

const DEFAULT_ROOM = "lobby";
const BAD_NAME = 
  "A room's name is 1 to 64 letters (A to Z), digits, dots, colons, hyphens and underscores.";

const connection = new Connection(auth, {
  onState: (state) => {
    view.showState(state);
    if (state.state !== "open") rooms.disconnected();
  },
  onExpired: (reason) => {
    view.showUser(null);
    start(reason);
  },
  onTooBig: () => rooms.tooBig(),
  onMessage: (message) => {
    rooms.receive(message);
    if (message.type === "welcome") view.showUser(rooms.user);
  },
});

const rooms = new Rooms((message) => connection.send(message), {
  onEntry: (room, entry) => {
    view.askBeforeUnload(rooms.unsent > 0);
    if (room === rooms.current) log.put(entry);
    if (entry.isNew && !entry.own && (room !== rooms.current || document.hidden)) {
      room.unread += 1;
      view.showRooms(rooms, rooms.current);
    }
  },
  onForgotten: (room, entry) => {
    view.askBeforeUnload(rooms.unsent > 0);
    if (room === rooms.current) log.remove(entry);
  },
  onMembers: (room) => {
    if (room === rooms.current) view.showMembers(room, rooms.user);
  },
  onTyping: (room) => {
    if (room === rooms.current) view.showTyping(room);
  },
  onReplayed: (room) => {
    if (room === rooms.current) log.showEmpty();
  },
  onSilence: () => connection.check(),
});

const log = new Log({
  onRetry: (entry) => rooms.retry(rooms.current, entry),
  onDiscard: (entry) => rooms.current.discard(entry),
});

const view = new View({
  onSend: (text) => rooms.publish(rooms.current, text),
  onType: (text) => rooms.typed(rooms.current, text),
  onRoom: (name) => {
    if (!isRoomName(name)) return BAD_NAME;
    location.hash = name;
    return "";
  },
  onLeave: (name) => {
    rooms.leave(rooms.get(name));
    view.askBeforeUnload(rooms.unsent > 0);
    if (name === rooms.current.name) location.hash = [...rooms][0].name;
    else view.showRooms(rooms, rooms.current);
    remember();
  },
  onReconnect: () => connection.connect(),
});

/** Show the room that the address names. */
function showRoom() {
  const name = location.hash.slice(1) || DEFAULT_ROOM;
  if (rooms.current !== null) rooms.current.draft = view.draft;
  rooms.current = rooms.enter(isRoomName(name) ? name : (rooms.current?.name ?? DEFAULT_ROOM));
  rooms.current.unread = 0;
  view.showRoom(rooms.current);
  view.showRooms(rooms, rooms.current);
  view.showMembers(rooms.current, rooms.user);
  view.showTyping(rooms.current);
  log.show(rooms.current);
  remember();
  if (!isRoomName(name)) {
    rooms.current.notice(`There is no room “${readable(name)}”. ${BAD_NAME}`);
    history.replaceState(null, "", `#${rooms.current.name}`);
  }
}

/** A name from the address, without its percent-encoding, and not too long. */
function readable(name) {
  try {
    return decodeURIComponent(name).slice(0, 100);
  } catch {
    return name.slice(0, 100);
  }
}

// After a reload, the page enters the same rooms.
function remember() {
  sessionStorage.setItem("rooms", JSON.stringify([...rooms].map((room) => room.name)));
}

/** Connect as soon as there is a user. `ended` says why the last session ended. */
async function start(ended) {
  await auth.enter(ended, () => rooms.unsent);
  view.focus();
  connection.connect();
}

for (const name of JSON.parse(sessionStorage.getItem("rooms") ?? "[]")) rooms.enter(name);
showRoom();
addEventListener("hashchange", showRoom);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  rooms.current.unread = 0;
  view.showRooms(rooms, rooms.current);
});
start();
