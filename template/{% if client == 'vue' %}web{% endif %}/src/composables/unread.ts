import { computed, onScopeDispose, shallowRef, watch, watchEffect } from "vue";
import type { Ref } from "vue";

import { titleWith, Unread } from "../chat/unread.js";
import { NAME } from "../document.js";
import { observed } from "./observed.js";
import { useClient } from "./realtime.js";

/** What is unread in the rooms, while `current` is the one on display. */
export function useUnread(current: Readonly<Ref<string>>) {
  const unread = new Unread(useClient(), !document.hidden);
  const latest = observed(shallowRef(unread));
  const seen = () => unread.setVisible(!document.hidden);

  watch(current, (name) => unread.show(name), { immediate: true, flush: "sync" });
  watchEffect(() => {
    document.title = titleWith(NAME, latest.value.total);
  });
  document.addEventListener("visibilitychange", seen);
  onScopeDispose(() => {
    document.removeEventListener("visibilitychange", seen);
    unread.close();
  });

  return {
    /** How many messages of a room are unread. */
    count: (name: string) => latest.value.count(name),
    /** Whether there are unread messages in another room than the current one. */
    isElsewhere: computed(() => latest.value.total > latest.value.count(current.value)),
    /** The key of the first message that was unread when the current room was opened. */
    mark: computed(() => latest.value.mark(current.value)),
  };
}
