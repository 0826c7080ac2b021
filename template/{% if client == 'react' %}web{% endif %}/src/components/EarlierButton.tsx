import type { RoomView } from "../hooks/index.js";

interface Props {
  room: RoomView;
  /** There is nothing more to load, so the button is about to disappear. */
  onEnd: () => void;
}

/** Loads earlier messages. Scrolling to the start does it too. */
export function EarlierButton({ room, onEnd }: Props) {
  const load = async () => {
    await room.loadEarlier();
    if (!room.current.hasEarlier) onEnd();
  };
  return (
    <button
      id="earlier"
      type="button"
      hidden={!room.hasEarlier}
      aria-disabled={room.isLoading}
      onClick={() => void load()}
    >
      {room.isLoading ? "Loading…" : "Earlier messages"}
    </button>
  );
}
