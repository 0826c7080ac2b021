import { useMemo, useSyncExternalStore } from "react";

import { Typing } from "../chat/typing.js";
import type { Application } from "../events.js";
import type { Room } from "../realtime/index.js";

const NOBODY: readonly string[] = [];

/** The names of the others who are typing. `typed` tells them that this user is. */
export function useTyping(room: Room<Application>) {
  const store = useMemo(() => typingStore(room), [room]);
  const names = useSyncExternalStore(store.subscribe, store.names);
  return { names, typed: store.typed };
}

/** Knows who is typing as long as somebody has subscribed. */
function typingStore(room: Room<Application>) {
  let typing: Typing | null = null;
  return {
    names: () => typing?.names ?? NOBODY,
    typed: (text: string) => typing?.typed(text),
    subscribe: (listener: () => void) => {
      const made = new Typing(room);
      typing = made;
      made.subscribe(listener);
      return () => {
        made.close();
      };
    },
  };
}
