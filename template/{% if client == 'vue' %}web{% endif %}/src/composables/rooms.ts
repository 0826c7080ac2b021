import { onScopeDispose, readonly, shallowRef, watch } from "vue";

import { roomInAddress, storedRooms, storeRooms } from "../chat/rooms.js";
import { useClient, useConnection } from "./realtime.js";

/** The room on display, which is the one that the address names, and the others of this tab. */
export function useRooms() {
  const client = useClient();
  const { rooms } = useConnection();
  const current = shallowRef("");

  for (const name of storedRooms(sessionStorage)) client.enter(name);
  show();
  addEventListener("hashchange", show);
  onScopeDispose(() => removeEventListener("hashchange", show));
  watch(rooms, (all) => storeRooms(sessionStorage, all.keys()), { immediate: true });

  function show() {
    const { name, problem } = roomInAddress(location.hash, current.value || null);
    const room = client.enter(name);
    client.focus(name);
    current.value = name;
    if (problem === "") return;
    room.notice(problem);
    history.replaceState(null, "", `#${name}`);
  }

  function open(name: string) {
    location.hash = name;
  }

  function leave(name: string) {
    client.leave(name);
    const [first] = client.rooms.keys();
    if (name === current.value && first !== undefined) open(first);
  }

  return { rooms, current: readonly(current), open, leave };
}
