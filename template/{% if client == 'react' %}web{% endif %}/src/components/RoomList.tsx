import { badge } from "../chat/words.js";
import { useClient } from "../hooks/index.js";

interface Props {
  names: readonly string[];
  current: string;
  unread: (room: string) => number;
  onOpen: () => void;
}

export function RoomList({ names, current, unread, onOpen }: Props) {
  const client = useClient();
  const leave = (name: string) => {
    const next = names.find((other) => other !== name);
    if (name === current && next !== undefined) location.hash = next;
    client.leave(name);
  };
  return (
    <ul id="rooms">
      {names.map((name) => (
        <li key={name} data-room={name}>
          <a
            href={`#${name}`}
            aria-current={name === current ? "page" : undefined}
            onClick={onOpen}
          >
            <span className="name">{name}</span>{" "}
            <span className="badge" hidden={unread(name) === 0}>
              <span>{badge(unread(name))}</span>
              <i> unread</i>
            </span>
          </a>
          <button
            className="leave"
            type="button"
            title="Leave"
            aria-label={`Leave ${name}`}
            hidden={names.length === 1}
            onClick={() => {
              leave(name);
            }}
          >
            ×
          </button>
        </li>
      ))}
    </ul>
  );
}
