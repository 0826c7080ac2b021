import { useMemo } from "react";

import { useRealtime } from "./RealtimeProvider.js";
import { useVersion } from "./useVersion.js";

/**
 * The connection: its `status`, the `user` whom the server knows, and how many own messages
 * are `unsent`. `connect` connects, or tries again at once. `close` ends the connection.
 */
export function useConnection() {
  const { client } = useRealtime();
  const version = useVersion(client);
  const actions = useMemo(
    () => ({
      connect: () => client.connect(),
      close: () => {
        client.close();
      },
    }),
    [client],
  );
  return useMemo(
    () => ({
      version,
      status: client.status,
      user: client.user,
      unsent: client.unsent,
      rooms: client.rooms,
      ...actions,
    }),
    [client, version, actions],
  );
}
