import type { ClientOptions } from "../../../realtime/index.js";
import { Chat } from "../../Chat.js";
import { Header } from "../../Header.js";
import { LoginForm } from "./LoginForm.js";
import { LogOut } from "./LogOut.js";
import { mayGoOnAs, owner } from "./owner.js";
import { useSession } from "./useSession.js";

export const clientOptions: ClientOptions = { mayGoOnAs };

/** Who is logged in may come in. The chat stays behind the form when the session ends. */
export function Gate() {
  const { session, entered, leave } = useSession();
  const isIn = session.state === "in";
  return (
    <>
      <Header>{isIn && <LogOut leave={leave} />}</Header>
      {session.state === "out" && (
        <LoginForm reason={session.reason} name={owner.user?.name ?? ""} onLogin={entered} />
      )}
      <Chat isHidden={!isIn} />
    </>
  );
}
