import { useCallback, useEffect, useRef, useState } from "react";

import { logout, whoAmI } from "../../../auth/index.js";
import { goodbye, NOT_KEPT, sayGoodbye, whyEnded } from "../../../chat/auth/accounts/login.js";
import { useClient } from "../../../hooks/index.js";
import type { Member } from "../../../realtime/index.js";
import { mayGoOnAs } from "./owner.js";
import { reload } from "./reload.js";

type Session = { state: "unknown" | "in" } | { state: "out"; reason: string };

// What the page before this one left to say.
const FIRST_REASON = goodbye(sessionStorage);

/**
 * Whether somebody is logged in, and if not, why. `entered` is called after a login. `leave`
 * logs out, and rejects if that fails.
 */
export function useSession() {
  const client = useClient();
  const [session, setSession] = useState<Session>({ state: "unknown" });
  // The attempt to log out, while there is one.
  const leaving = useRef<Promise<unknown>>(null);

  const enter = useCallback(
    (reason: string) => {
      const found = (user: Member | null | undefined): void => {
        if (user === null) {
          setSession({ state: "out", reason });
        } else if (user === undefined || mayGoOnAs(user)) {
          setSession({ state: "in" });
          void client.connect();
        }
      };
      // Undefined when the server can't be asked: the connection will find out.
      return whoAmI()
        .catch(() => undefined)
        .then(found);
    },
    [client],
  );
  const entered = useCallback(() => enter(NOT_KEPT), [enter]);

  const leave = useCallback(async () => {
    leaving.current ??= logout().then(
      () => {
        sayGoodbye(sessionStorage);
        reload();
        // Nothing else happens on this page.
        return new Promise(() => undefined);
      },
      (error: unknown) => {
        leaving.current = null;
        throw error;
      },
    );
    await leaving.current;
  }, []);

  useEffect(() => {
    void enter(FIRST_REASON);
  }, [enter]);

  useEffect(
    () =>
      client.onExpired((reason) => {
        const ended = (): void => {
          setSession({ state: "out", reason: whyEnded(reason) });
        };
        // The session ends because the user logs out, unless that fails.
        if (leaving.current === null) ended();
        else leaving.current.catch(ended);
      }),
    [client],
  );

  return { session, entered, leave };
}
