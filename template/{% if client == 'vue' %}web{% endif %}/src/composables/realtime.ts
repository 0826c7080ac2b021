/** The client of `realtime/` as composables, which follow it until their component is gone. */

import { computed, inject, onScopeDispose, shallowRef, toValue, watch } from "vue";
import type { InjectionKey, MaybeRefOrGetter, Plugin, Ref } from "vue";

import type { Application } from "../events.js";
import type { Client, Room } from "../realtime/index.js";
import type { DataOf, ResultOf } from "../realtime/types.js";
import { observed } from "./observed.js";
import { RoomUses } from "./uses.js";

export type AppClient = Client<Application>;
export type AppRoom = Room<Application>;
type Publishes = Application["publishes"];
type Sends = Application["sends"];
type Calls = Application["calls"];

interface Realtime {
  client: AppClient;
  uses: RoomUses;
}

const KEY: InjectionKey<Realtime> = Symbol("realtime");

/** A plugin that gives this client to every component: `app.use(withClient(client))`. */
export function withClient(client: AppClient): Plugin {
  const realtime = { client, uses: new RoomUses(client) };
  return { install: (app) => app.provide(KEY, realtime) };
}

/** The client of the app. */
export function useClient(): AppClient {
  return useRealtime().client;
}

/** The connection, its user, the rooms, and how many own messages are not acknowledged. */
export function useConnection() {
  const client = useClient();
  const current = observed(shallowRef(client));
  return {
    status: computed(() => current.value.status),
    user: computed(() => current.value.user),
    rooms: computed(() => current.value.rooms),
    unsent: computed(() => current.value.unsent),
    connect: () => client.connect(),
    close: () => client.close(),
  };
}

/**
 * A room. When `name` changes, this follows the room of that name. A room that the client is
 * not in, it enters now, and leaves when no component uses it any more.
 */
export function useRoom(name: MaybeRefOrGetter<string>) {
  const room = useEntered(name);
  const current = observed(room);
  return {
    /** The room itself, for `onMessage`, `onSignal`, `retry` and `discard`. */
    room,
    state: computed(() => current.value.state),
    isKnown: computed(() => current.value.isKnown),
    entries: computed(() => current.value.entries),
    hasEarlier: computed(() => current.value.hasEarlier),
    isLoading: computed(() => current.value.isLoading),
    loadEarlier: () => room.value.loadEarlier(),
    publish: <N extends keyof Publishes>(event: N, data: Publishes[N]) =>
      room.value.publish(event, data),
    signal: <N extends keyof Sends>(event: N, data: Sends[N]) => room.value.signal(event, data),
  };
}

/** Who is in a room: `members` by id, null if they are too many for a list, and their number. */
export function usePresence(name: MaybeRefOrGetter<string>) {
  const current = observed(useEntered(name));
  return {
    members: computed(() => current.value.members),
    memberCount: computed(() => current.value.memberCount),
  };
}

/**
 * A call to the server, and the answer to the newest one. `call` does not reject: what went
 * wrong is in `error`. When the component is gone, no answer is awaited any more.
 */
export function useCall<N extends keyof Calls>(event: N) {
  const client = useClient();
  const result = shallowRef<ResultOf<Calls[N]>>();
  const error = shallowRef<unknown>();
  const isPending = shallowRef(false);
  let newest = new AbortController();
  onScopeDispose(() => newest.abort());

  async function call(data: DataOf<Calls[N]>) {
    newest.abort();
    const { signal } = (newest = new AbortController());
    isPending.value = true;
    error.value = undefined;
    try {
      result.value = await client.call(event, data, { signal });
    } catch (problem) {
      if (!signal.aborted) error.value = problem;
    } finally {
      if (!signal.aborted) isPending.value = false;
    }
  }
  return { call, result, error, isPending };
}

function useRealtime(): Realtime {
  const realtime = inject(KEY, null);
  if (realtime === null) throw new Error("app.use(withClient(client)) is missing.");
  return realtime;
}

function useEntered(name: MaybeRefOrGetter<string>): Readonly<Ref<AppRoom>> {
  const { uses } = useRealtime();
  const first = uses.begin(toValue(name));
  const room = shallowRef(first.room);
  let end = first.end;
  watch(
    () => toValue(name),
    (next) => {
      end();
      const use = uses.begin(next);
      room.value = use.room;
      end = use.end;
    },
    { flush: "sync" },
  );
  onScopeDispose(() => end());
  return room;
}
