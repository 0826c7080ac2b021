import { useEffect, useRef, useState, type SubmitEvent } from "react";

import { login, register } from "../../../auth/index.js";
import { MODES, problemOf, type Mode } from "../../../chat/auth/accounts/login.js";
import { DESCRIPTION } from "../../../page.js";

interface Props {
  /** Why somebody has to log in, or "". */
  reason: string;
  /** The user name that is there already. */
  name: string;
  onLogin: () => Promise<void>;
}

export function LoginForm({ reason, name, onLogin }: Props) {
  const [mode, setMode] = useState<Mode>("login");
  const [problem, setProblem] = useState("");
  const [isBusy, setIsBusy] = useState(false);
  const [isShown, setIsShown] = useState(false);
  const username = useRef<HTMLInputElement>(null);
  const password = useRef<HTMLInputElement>(null);
  const { title, other, autocomplete } = MODES[mode];

  useEffect(() => {
    (username.current?.value === "" ? username : password).current?.focus();
  }, [mode]);

  const submit = async (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const given = [username.current?.value ?? "", password.current?.value ?? ""] as const;
    setIsBusy(true);
    setProblem("");
    try {
      if (mode === "register") {
        await register(...given);
        setMode("login");
      }
      await login(...given);
      await onLogin();
    } catch (error) {
      setProblem(problemOf(error));
      password.current?.focus();
    } finally {
      setIsBusy(false);
    }
  };

  return (
    <main id="account" className="card">
      <h2 id="account-title">{title}</h2>
      {DESCRIPTION !== "" && <p>{DESCRIPTION}</p>}
      <p id="account-reason" role="status">
        {reason}
      </p>
      <form
        id="account-form"
        aria-labelledby="account-title"
        onSubmit={(event) => void submit(event)}
      >
        <label htmlFor="username">User name</label>
        <input
          id="username"
          name="username"
          ref={username}
          defaultValue={name}
          autoComplete="username"
          autoCapitalize="none"
          spellCheck={false}
          required
          aria-describedby="account-reason"
        />
        <label htmlFor="password">Password</label>
        <input
          id="password"
          name="password"
          ref={password}
          type={isShown ? "text" : "password"}
          autoComplete={autocomplete}
          required
          aria-describedby="account-reason account-error"
        />
        <label>
          <input
            id="show-password"
            type="checkbox"
            checked={isShown}
            onChange={({ target }) => {
              setIsShown(target.checked);
            }}
          />{" "}
          Show what I type
        </label>
        <p id="account-error" className="problem" role="alert">
          {problem}
        </p>
        <button id="account-submit" className="primary" disabled={isBusy}>
          {title}
        </button>
        <button
          id="account-mode"
          type="button"
          className="link"
          onClick={() => {
            setMode(mode === "login" ? "register" : "login");
            setProblem("");
          }}
        >
          {other}
        </button>
      </form>
    </main>
  );
}
