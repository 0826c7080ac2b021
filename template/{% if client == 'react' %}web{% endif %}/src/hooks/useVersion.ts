import { useCallback, useSyncExternalStore } from "react";

interface Store {
  readonly version: number;
  subscribe(listener: () => void): () => void;
}

/** Render again whenever the store changes. Returns its version. */
export function useVersion(store: Store): number {
  const subscribe = useCallback((listener: () => void) => store.subscribe(listener), [store]);
  return useSyncExternalStore(subscribe, () => store.version);
}
