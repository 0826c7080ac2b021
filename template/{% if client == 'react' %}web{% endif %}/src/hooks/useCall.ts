import { useCallback, useEffect, useRef, useState } from "react";

import type { Application } from "../events.js";
import type { DataOf, ResultOf } from "../realtime/types.js";
import { useRealtime } from "./RealtimeProvider.js";

type Calls = Application["calls"];

interface CallState<Result> {
  isPending: boolean;
  /** What the server answered last. */
  result: Result | undefined;
  /** Why the last call failed: a ServerError or a Disconnected. */
  error: Error | undefined;
}

/**
 * Ask the server something. `call` also resolves to the result, and rejects with the error. An
 * answer that comes after the component is unmounted, or after the next call, is dropped.
 */
export function useCall<Name extends Extract<keyof Calls, string>>(event: Name) {
  type Result = ResultOf<Calls[Name]>;
  const { client } = useRealtime();
  const [state, setState] = useState<CallState<Result>>({
    isPending: false,
    result: undefined,
    error: undefined,
  });
  const current = useRef<AbortController | null>(null);
  useEffect(() => () => current.current?.abort(), []);

  const call = useCallback(
    async (data: DataOf<Calls[Name]>): Promise<Result> => {
      current.current?.abort();
      const { signal } = (current.current = new AbortController());
      const finish = (change: Partial<CallState<Result>>) => {
        if (!signal.aborted) setState((before) => ({ ...before, isPending: false, ...change }));
      };
      setState((before) => ({ ...before, isPending: true, error: undefined }));
      try {
        const result = await client.call(event, data, { signal });
        finish({ result });
        return result;
      } catch (error) {
        finish({ error: error as Error });
        throw error;
      }
    },
    [client, event],
  );
  return { ...state, call };
}
