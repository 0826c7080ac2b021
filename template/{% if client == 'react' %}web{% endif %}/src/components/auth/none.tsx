import { useEffect } from "react";

import { useConnection } from "../../hooks/index.js";
import type { ClientOptions } from "../../realtime/index.js";
import { Chat } from "../Chat.js";
import { Header } from "../Header.js";

export const clientOptions: ClientOptions = {};

/** Everybody may come in. */
export function Gate() {
  const { connect } = useConnection();
  useEffect(() => {
    void connect();
  }, [connect]);
  return (
    <>
      <Header />
      <Chat />
    </>
  );
}
