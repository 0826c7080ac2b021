import { createContext, use, useEffect, useState, type ReactNode } from "react";

import type { Application } from "../events.js";
import type { Client } from "../realtime/index.js";
import { RoomUses } from "./roomUses.js";

interface Realtime {
  client: Client<Application>;
  uses: RoomUses;
}

const RealtimeContext = createContext<Realtime | null>(null);

interface Props {
  client: Client<Application>;
  children: ReactNode;
}

/** Gives its children a client, and closes it when it is unmounted. */
export function RealtimeProvider({ client, children }: Props) {
  const [realtime] = useState(() => ({ client, uses: new RoomUses(client) }));
  useEffect(() => {
    return () => {
      client.close();
    };
  }, [client]);
  return <RealtimeContext value={realtime}>{children}</RealtimeContext>;
}

/** What the nearest provider has. Throws without one. */
export function useRealtime(): Realtime {
  const realtime = use(RealtimeContext);
  if (realtime === null) throw new Error("There is no <RealtimeProvider> around this component.");
  return realtime;
}

/** The client itself. */
export function useClient(): Client<Application> {
  return useRealtime().client;
}
