import { computed, shallowRef, watch } from "vue";
import type { Ref } from "vue";

import { Typing } from "../chat/typing.js";
import { observed } from "./observed.js";
import type { AppRoom } from "./realtime.js";

/** Who is typing in a room, and what tells its members that this user is. */
export function useTyping(room: Readonly<Ref<AppRoom>>) {
  const typing = shallowRef(new Typing(room.value));
  watch(room, (next) => {
    typing.value = new Typing(next);
  });
  watch(typing, (current, _, onCleanup) => onCleanup(() => current.close()), { immediate: true });
  const latest = observed(typing);
  return {
    names: computed(() => latest.value.names),
    typed: (text: string) => typing.value.typed(text),
  };
}
