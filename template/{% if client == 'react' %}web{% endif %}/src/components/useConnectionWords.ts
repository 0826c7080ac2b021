import { useState } from "react";

import { connectionWords, SILENT } from "../chat/words.js";
import { useConnection } from "../hooks/index.js";

/** What to say about the connection. It depends on what was said before. */
export function useConnectionWords() {
  const { status } = useConnection();
  const [said, setSaid] = useState(() => ({ status, words: connectionWords(status, SILENT) }));
  if (said.status === status) return said.words;
  const words = connectionWords(status, said.words);
  setSaid({ status, words });
  return words;
}
