import { useEffect, useState, useSyncExternalStore } from "react";

import { titleWith, Unread } from "../chat/unread.js";
import type { Application } from "../events.js";
import { useClient } from "../hooks/index.js";
import { APPLICATION } from "../page.js";
import type { Client } from "../realtime/index.js";

/** What is unread, while the room named `shown` is on display. The title says how much. */
export function useUnread(shown: string) {
  const client = useClient();
  const [store] = useState(() => unreadStore(client));
  useSyncExternalStore(store.subscribe, store.version);
  useEffect(() => {
    store.current()?.show(shown);
  }, [store, shown]);

  const unread = store.current();
  const total = unread?.total ?? 0;
  useEffect(() => {
    showTitle(titleWith(APPLICATION, total));
  }, [total]);
  return {
    total,
    count: (room: string) => unread?.count(room) ?? 0,
    mark: unread?.mark(shown) ?? null,
  };
}

/** Counts what is unread as long as somebody has subscribed. */
function unreadStore(client: Client<Application>) {
  let unread: Unread | null = null;
  return {
    current: () => unread,
    version: () => unread?.version ?? 0,
    subscribe: (listener: () => void) => {
      const made = new Unread(client, !document.hidden);
      const look = () => {
        made.setVisible(!document.hidden);
      };
      unread = made;
      made.subscribe(listener);
      document.addEventListener("visibilitychange", look);
      return () => {
        document.removeEventListener("visibilitychange", look);
        made.close();
      };
    },
  };
}

function showTitle(title: string): void {
  document.title = title;
}
