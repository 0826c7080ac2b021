import { computed, shallowRef, watch } from "vue";

import { connectionWords, countdown, SILENT } from "../chat/words.js";
import { useConnection } from "./realtime.js";

/** The state of the connection, in words for people. */
export function useStatus() {
  const { status, connect } = useConnection();
  const words = shallowRef(SILENT);
  const now = shallowRef(Date.now());

  watch(
    status,
    (current, _, onCleanup) => {
      words.value = connectionWords(current, words.value);
      now.value = Date.now();
      if (current.retryAt === null) return;
      const timer = setInterval(() => {
        now.value = Date.now();
      }, 1000);
      onCleanup(() => clearInterval(timer));
    },
    { immediate: true, flush: "sync" },
  );

  return {
    state: computed(() => status.value.state),
    words,
    countdown: computed(() => countdown(status.value.retryAt, words.value.isTrying, now.value)),
    connect,
  };
}
