export { Client } from "./client.js";
export { Disconnected, ServerError } from "./errors.js";
export { OWN_ROOM, isRoomName, type ErrorCode } from "./protocol.js";
export type {
  ClientOptions,
  ConnectionState,
  ConnectionStatus,
  Credentials,
  Entry,
  EventOf,
  Handshake,
  Member,
  MessageEntry,
  NoticeEntry,
  Position,
  Room,
  RoomState,
  Shape,
  SignalOf,
} from "./types.js";
