import { Fragment } from "react";

import { parts } from "../chat/text.js";

interface Props {
  text: string;
}

/** A text in which addresses are links. */
export function LinkedText({ text }: Props) {
  return parts(text).map((part, index) =>
    part.href === undefined ? (
      <Fragment key={index}>{part.text}</Fragment>
    ) : (
      <a key={index} href={part.href} target="_blank" rel="noopener noreferrer nofollow">
        {part.text}
      </a>
    ),
  );
}
