/** How many texts are remembered: the first ones may be gone afterwards. */
const HELD = 3;

/**
 * Remember where the first visible texts of a frame are. Returns a function that scrolls so that
 * they are there again, after something has changed above them. (The name above a text may
 * disappear when a message of the same sender comes before it.)
 */
export function holdPlace(frame: HTMLElement): () => void {
  const top = frame.getBoundingClientRect().top;
  const held: [Element, number][] = [];
  for (const text of frame.querySelectorAll(".text, .notice")) {
    const box = text.getBoundingClientRect();
    if (box.bottom > top) held.push([text, box.top]);
    if (held.length === HELD) break;
  }
  return () => {
    const found = held.find(([text]) => text.isConnected);
    if (found === undefined) return;
    const [text, before] = found;
    frame.scrollTop += text.getBoundingClientRect().top - before;
  };
}
