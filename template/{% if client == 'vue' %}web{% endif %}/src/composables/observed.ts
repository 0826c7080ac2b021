import { customRef, watch } from "vue";
import type { Ref } from "vue";

/** What tells its subscribers that it has changed. */
export interface Source {
  subscribe(listener: () => void): () => void;
}

/** What is in `source`, as a ref that changes whenever that tells of a change, too. */
export function observed<S extends Source>(source: Readonly<Ref<S>>): Readonly<Ref<S>> {
  return customRef((track, trigger) => {
    const follow = (current: S, _: unknown, onCleanup: (stop: () => void) => void) => {
      onCleanup(current.subscribe(trigger));
      trigger();
    };
    watch(source, follow, { immediate: true, flush: "sync" });
    return {
      get: () => {
        track();
        return source.value;
      },
      set: () => undefined,
    };
  });
}
