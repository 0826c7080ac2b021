import { useEffect, useRef, useState, type KeyboardEvent, type SubmitEvent } from "react";

import { draft, whoIsTyping } from "../chat/words.js";
import type { RoomView } from "../hooks/index.js";
import { useTyping } from "./useTyping.js";

interface Props {
  room: RoomView;
  isHidden: boolean;
}

/** The field for a message, and who else is writing one. Each room has a draft of its own. */
export function Composer({ room, isHidden }: Props) {
  const field = useRef<HTMLTextAreaElement>(null);
  const [drafts, setDrafts] = useState<Readonly<Record<string, string>>>({});
  const { names, typed } = useTyping(room.current);
  const text = drafts[room.name] ?? "";
  const { toSend, counter, isTooLong } = draft(text);

  useEffect(() => {
    // A screen keyboard would cover the room.
    if (!isHidden && matchMedia("(pointer: fine)").matches) field.current?.focus();
  }, [room.name, isHidden]);

  const write = (written: string) => {
    setDrafts((before) => ({ ...before, [room.name]: written }));
  };
  const submit = (event: SubmitEvent | KeyboardEvent) => {
    event.preventDefault();
    if (toSend !== "") {
      room.publish("chat.message", { text: toSend });
      write("");
    }
    field.current?.focus();
  };

  return (
    <>
      <p id="typing" role="status">
        {whoIsTyping(names).map((piece, index) =>
          piece.isName ? <bdi key={index}>{piece.text}</bdi> : piece.text,
        )}
      </p>
      <form id="composer" onSubmit={submit}>
        <label htmlFor="text">Message {room.name}</label>
        <textarea
          id="text"
          name="text"
          ref={field}
          rows={1}
          placeholder="Message"
          dir="auto"
          enterKeyHint="send"
          aria-describedby="counter keys"
          aria-invalid={isTooLong}
          value={text}
          onChange={({ target }) => {
            write(target.value);
            typed(target.value);
          }}
          onKeyDown={(event) => {
            const isSubmit = event.key === "Enter" && !event.shiftKey;
            if (isSubmit && !event.nativeEvent.isComposing) submit(event);
          }}
        />
        <button id="send" className="primary" disabled={isTooLong}>
          Send
        </button>
        <p id="counter" role="status">
          {counter}
        </p>
        <p id="keys">Enter sends, Shift+Enter begins a new line.</p>
      </form>
    </>
  );
}
