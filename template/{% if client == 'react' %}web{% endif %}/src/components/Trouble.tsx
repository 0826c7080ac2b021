import { countdown } from "../chat/words.js";
import { useConnection } from "../hooks/index.js";
import { useConnectionWords } from "./useConnectionWords.js";
import { useNow } from "./useNow.js";

/** What is wrong with the connection, and when the next attempt is made. */
export function Trouble() {
  const { status, connect } = useConnection();
  const { trouble, button, isTrying } = useConnectionWords();
  const now = useNow(1_000, status.retryAt !== null);
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
