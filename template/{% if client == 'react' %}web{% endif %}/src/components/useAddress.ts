import { useEffect, useState, useSyncExternalStore } from "react";

import { roomInAddress } from "../chat/rooms.js";
import { useRealtime } from "../hooks/index.js";

/** The name of the room that the address names. If it names none, the room on display says so. */
export function useAddress(): string {
  const { client } = useRealtime();
  const hash = useSyncExternalStore(subscribe, () => location.hash);
  const [shown, setShown] = useState(() => ({ hash, ...roomInAddress(hash, null) }));
  if (shown.hash !== hash) setShown({ hash, ...roomInAddress(hash, shown.name) });

  useEffect(() => {
    if (shown.problem === "" || location.hash !== shown.hash) return;
    client.enter(shown.name).notice(shown.problem);
    history.replaceState(null, "", `#${shown.name}`);
  }, [client, shown]);
  return shown.name;
}

function subscribe(listener: () => void): () => void {
  addEventListener("hashchange", listener);
  return () => {
    removeEventListener("hashchange", listener);
  };
}
