import type { Member, Position } from "./types.js";

/** The room of what the application sends to this user alone. */
export const OWN_ROOM = "@me";

const ROOM_NAME = /^[A-Za-z0-9_.:-]{1,64}$/;

/** Whether this is the name of a room that people may enter. `@me` is not one. */
export function isRoomName(name: string): boolean {
  return ROOM_NAME.test(name);
}

export type ErrorCode =
  | "invalid"
  | "unavailable"
  | "forbidden"
  | "not_joined"
  | "rate_limited"
  | "too_many_rooms"
  | "refused"
  | "internal";

// --- Client to server ---------------------------------------------------------

export type ClientMessage =
  | { type: "join"; room: string; since?: Position }
  | { type: "leave"; room: string }
  | { type: "publish"; room: string; id: string; event: string; data: unknown }
  | { type: "signal"; room: string; event: string; data: unknown }
  | { type: "call"; id: string; event: string; data: unknown }
  | { type: "history"; room: string; before: number; limit: number }
  | { type: "ping" };

// --- Server to client ---------------------------------------------------------

export interface Welcome {
  type: "welcome";
  connection: string;
  user: Member;
  /** Seconds; 0 if no heartbeat is needed. */
  heartbeat: number;
}

export interface Joined {
  type: "joined";
  room: string;
  epoch: string;
  offset: number;
  recovered: boolean;
  count: number;
  /** Absent in a large room. */
  members?: Member[];
}

export interface Left {
  type: "left";
  room: string;
  reason?: string;
}

export interface Message {
  type: "message";
  room: string;
  id: string;
  offset: number;
  event: string;
  data: unknown;
  /** Absent if the application published it. */
  sender?: Member;
  sent_at: string;
}

export interface Signal {
  type: "signal";
  room: string;
  event: string;
  data: unknown;
  sender?: Member;
}

export interface Result {
  type: "result";
  id: string;
  event?: string;
  data?: unknown;
}

export interface History {
  type: "history";
  room: string;
  epoch: string;
  /** The newest is the last. */
  messages: Message[];
  /** Whether the server remembers nothing that is older. */
  complete: boolean;
}

/** Users came or left: one or several, or only how many there are now. */
export interface Presence {
  type: "presence";
  room: string;
  user?: Member;
  users?: Member[];
  event?: "join" | "leave";
  count?: number;
  members?: Member[];
}

export interface Resync {
  type: "resync";
  room: string;
  epoch: string;
  offset: number;
}

export interface ErrorMessage {
  type: "error";
  code: ErrorCode;
  detail: string;
  room?: string;
  /** The id of a publish or a call. */
  ref?: string;
}

/** What a room is told, beside errors and its end. */
export type RoomMessage = Joined | Message | Signal | History | Presence | Resync;

export type ServerMessage = RoomMessage | Welcome | Left | Result | ErrorMessage | { type: "pong" };

/** Read a frame. Returns null for what is not a message. */
export function readFrame(frame: unknown): ServerMessage | null {
  try {
    const message: unknown = JSON.parse(String(frame));
    if (typeof message === "object" && message !== null && "type" in message) {
      return message as ServerMessage;
    }
  } catch {
    // It is not JSON.
  }
  return null;
}

/** What the server says, as a sentence. */
export function sentence(detail: string): string {
  const end = /[.!?…]$/.test(detail) ? "" : ".";
  return `${detail.charAt(0).toUpperCase()}${detail.slice(1)}${end}`;
}

/** After how many seconds the server can be asked for so much history again; 0 for other details. */
export function secondsToWait(detail: string): number {
  return Number(/try again in (\d+) s$/.exec(detail)?.[1] ?? 0);
}

/** A new id. crypto.randomUUID exists on secure origins only. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
