import { useEffect, useState, useSyncExternalStore } from "react";

import { roomInAddress } from "../chat/rooms.js";
import { useClient } from "../hooks/index.js";

/** The name of the room that the address names. If it names none, the room on display says so. */
export function useAddress(): string {
  const client = useClient();
  const hash = useSyncExternalStore(subscribe, () => location.hash);
  const [shown, setShown] = useState(() => ({ hash, ...roomInAddress(hash, null) }));
  let address = shown;
  if (shown.hash !== hash) {
    address = { hash, ...roomInAddress(hash, shown.name) };
    setShown(address);
  }

  useEffect(() => {
    if (address.problem === "" || location.hash !== address.hash) return;
    client.enter(address.name).notice(address.problem);
    history.replaceState(null, "", `#${address.name}`);
  }, [client, address]);
  return address.name;
}

function subscribe(listener: () => void): () => void {
  addEventListener("hashchange", listener);
  return () => {
    removeEventListener("hashchange", listener);
  };
}
