import { useEffect, useState } from "react";

import { countdown } from "../chat/words.js";
import { useConnection } from "../hooks/index.js";
import { useConnectionWords } from "./useConnectionWords.js";

/** What is wrong with the connection, and when the next attempt is made. */
export function Trouble() {
  const { status, connect } = useConnection();
  const { trouble, button, isTrying } = useConnectionWords();
  const now = useNow(status.retryAt !== null);
  return (
    <div id="trouble">
      <div>
        <p id="trouble-text" role="status">
          {trouble}
        </p>
        <p id="countdown" aria-hidden="true">
          {countdown(status.retryAt, isTrying, now)}
        </p>
      </div>
      <button id="reconnect" type="button" hidden={button === ""} onClick={() => void connect()}>
        {button}
      </button>
    </div>
  );
}

/** The time (milliseconds), each second anew while it is needed. */
function useNow(isNeeded: boolean): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (!isNeeded) return undefined;
    const timer = setInterval(() => {
      setNow(Date.now());
    }, 1_000);
    return () => {
      clearInterval(timer);
    };
  }, [isNeeded]);
  return now;
}
