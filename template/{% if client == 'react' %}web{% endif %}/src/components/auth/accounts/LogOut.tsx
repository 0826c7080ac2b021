import { useRef, useState } from "react";

import { consequence, logoutProblem } from "../../../chat/auth/accounts/login.js";
import { useConnection } from "../../../hooks/index.js";

interface Props {
  leave: () => Promise<void>;
}

/** The button to log out. If messages would be lost, the user decides. */
export function LogOut({ leave }: Props) {
  const { unsent } = useConnection();
  const [problem, setProblem] = useState("");
  const dialog = useRef<HTMLDialogElement>(null);

  const logOut = async () => {
    setProblem("");
    try {
      await leave();
    } catch (error) {
      setProblem(logoutProblem(error));
    }
  };
  const ask = () => {
    if (unsent === 0 || dialog.current === null) {
      void logOut();
    } else {
      dialog.current.returnValue = "";
      dialog.current.showModal();
    }
  };

  return (
    <>
      <p id="logout-error" className="problem" role="alert">
        {problem}
      </p>
      <button id="logout" type="button" onClick={ask}>
        Log out
      </button>
      <dialog
        id="unsent"
        className="card"
        ref={dialog}
        aria-labelledby="unsent-title"
        aria-describedby="unsent-text"
        onClose={({ currentTarget }) => {
          if (currentTarget.returnValue === "leave") void logOut();
        }}
      >
        <h2 id="unsent-title">Log out?</h2>
        <p id="unsent-text">{consequence(unsent)}</p>
        <form method="dialog">
          <button value="stay" className="primary">
            Stay logged in
          </button>
          <button value="leave">Log out anyway</button>
        </form>
      </dialog>
    </>
  );
}
