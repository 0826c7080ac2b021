export { Client } from "./client.js";
export { Disconnected, ServerError } from "./errors.js";
export { OWN_ROOM, isRoomName } from "./protocol.js";
