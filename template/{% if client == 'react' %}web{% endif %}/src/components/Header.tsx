import type { ReactNode } from "react";

import { useConnection } from "../hooks/index.js";
import { APPLICATION } from "../page.js";
import { useConnectionWords } from "./useConnectionWords.js";

interface Props {
  children?: ReactNode;
}

export function Header({ children }: Props) {
  const { status, user } = useConnection();
  const words = useConnectionWords();
  return (
    <header>
      <h1>{APPLICATION}</h1>
      <p id="connection" role="status" data-state={status.state}>
        {words.state}
      </p>
      <p id="user">{status.state === "expired" ? "" : user?.name}</p>
      {children}
    </header>
  );
}
