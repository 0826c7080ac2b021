/** How many items are remembered: the first ones may be gone afterwards. */
const HELD = 3;

/**
 * Remember where the first visible messages of a frame are. Returns a function that scrolls so
 * that they are there again, after something has changed above them.
 */
export function holdPlace(frame: HTMLElement): () => void {
  const top = frame.getBoundingClientRect().top;
  const held: [Element, number][] = [];
  for (const item of frame.querySelectorAll("#messages > li")) {
    const box = item.getBoundingClientRect();
    if (box.bottom > top) held.push([item, box.top]);
    if (held.length === HELD) break;
  }
  return () => {
    const found = held.find(([item]) => item.isConnected);
    if (found === undefined) return;
    const [item, before] = found;
    frame.scrollTop += item.getBoundingClientRect().top - before;
  };
}
