import { useRef, useState, type SubmitEvent } from "react";

import { problemWith } from "../chat/rooms.js";

interface Props {
  onOpen: () => void;
}

/** Goes to a room by its name. */
export function RoomForm({ onOpen }: Props) {
  const [problem, setProblem] = useState("");
  const field = useRef<HTMLInputElement>(null);

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    if (field.current === null) return;
    const name = field.current.value.trim();
    const found = problemWith(name);
    setProblem(found);
    if (found !== "") return;
    location.hash = name;
    field.current.value = "";
    onOpen();
  };

  return (
    <form id="room-form" noValidate onSubmit={submit}>
      <label htmlFor="room-name">Go to a room</label>
      <div className="field">
        <input
          id="room-name"
          name="room"
          ref={field}
          placeholder="name"
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          aria-describedby="room-error"
          aria-invalid={problem !== ""}
        />
        <button>Go</button>
      </div>
      <p id="room-error" className="problem" role="alert">
        {problem}
      </p>
    </form>
  );
}
