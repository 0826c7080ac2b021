import { useEffect, useMemo } from "react";

import type { Application } from "../events.js";
import type { Room } from "../realtime/index.js";
import { useRealtime } from "./RealtimeProvider.js";
import { useVersion } from "./useVersion.js";

type RoomOfApplication = Room<Application>;

/** A room at one moment, and what one can do there. The functions stay the same. */
export interface RoomView extends Readonly<Omit<RoomOfApplication, "subscribe">> {
  /** The room itself, which changes: for code that is not a component. */
  readonly current: RoomOfApplication;
}

interface Options {
  /** Whether to stay in the room when no component uses it any more. */
  keep?: boolean;
}

/** Enter a room, and leave it when no component uses it any more. */
export function useRoom(name: string, { keep = false }: Options = {}): RoomView {
  const { client, uses } = useRealtime();
  // Render again with a new room after somebody has left this one.
  useVersion(client);
  const room = client.enter(name);
  useEffect(() => (keep ? undefined : uses.add(name)), [uses, name, keep]);
  const version = useVersion(room);
  const actions = useMemo(() => actionsOf(room), [room]);
  return useMemo(() => ({ ...stateOf(room), version, ...actions }), [room, version, actions]);
}

function stateOf(room: RoomOfApplication) {
  return {
    current: room,
    name: room.name,
    state: room.state,
    isKnown: room.isKnown,
    entries: room.entries,
    members: room.members,
    memberCount: room.memberCount,
    unsent: room.unsent,
    hasEarlier: room.hasEarlier,
    isLoading: room.isLoading,
  };
}

function actionsOf(room: RoomOfApplication) {
  return {
    publish: room.publish.bind(room),
    signal: room.signal.bind(room),
    retry: room.retry.bind(room),
    discard: room.discard.bind(room),
    notice: room.notice.bind(room),
    loadEarlier: room.loadEarlier.bind(room),
    onMessage: room.onMessage.bind(room),
    onSignal: room.onSignal.bind(room),
  };
}
