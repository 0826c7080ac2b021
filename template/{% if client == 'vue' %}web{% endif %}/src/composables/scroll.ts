import { onBeforeUpdate, onMounted, onScopeDispose, onUpdated, shallowRef } from "vue";
import type { ShallowRef } from "vue";

import { isAtEnd, isNearStart } from "../chat/scroll.js";

/** How many messages may keep the reader's place: a long log drops the first ones. */
const HELD = 3;

/**
 * How a log scrolls: along with new messages while the reader is at the end. Anywhere else,
 * what is in view stays where it is. `frame` scrolls, and the messages in it have the class
 * "message". `onNearStart` is called when the reader scrolls up to the start.
 */
export function useScroll(
  frame: Readonly<ShallowRef<HTMLElement | null>>,
  onNearStart: () => void,
) {
  const isEnd = shallowRef(true);
  let places: Place[] = [];
  let lastTop = 0;

  // Messages come and grow, and a screen keyboard makes the frame lower.
  const sizes = new ResizeObserver(() => {
    if (isEnd.value) toEnd();
  });

  onMounted(() => {
    if (frame.value === null) return;
    for (const element of [frame.value, ...frame.value.children]) sizes.observe(element);
    toEnd();
  });
  onScopeDispose(() => sizes.disconnect());

  onBeforeUpdate(() => {
    places = isEnd.value || frame.value === null ? [] : placesInView(frame.value);
  });
  onUpdated(() => {
    const held = places.find(({ item }) => item.isConnected);
    if (frame.value === null || held === undefined) return;
    frame.value.scrollTop += bottomOf(held.item) - held.bottom;
  });

  function toEnd() {
    isEnd.value = true;
    if (frame.value !== null) frame.value.scrollTop = frame.value.scrollHeight;
  }

  function scrolled() {
    if (frame.value === null) return;
    const isUpward = frame.value.scrollTop < lastTop;
    lastTop = frame.value.scrollTop;
    // New messages lengthen the log before it scrolls: only who scrolls up leaves the end.
    if (isUpward || !isEnd.value) isEnd.value = isAtEnd(frame.value);
    if (isUpward && isNearStart(frame.value)) onNearStart();
  }

  return { isEnd, toEnd, scrolled };
}

interface Place {
  item: Element;
  bottom: number;
}

/**
 * The first visible messages, and where they end. That is where they stay: the first one may
 * lose the name above it to an earlier message of the same sender.
 */
function placesInView(frame: HTMLElement): Place[] {
  const { top } = frame.getBoundingClientRect();
  const places: Place[] = [];
  for (const item of frame.querySelectorAll(".message")) {
    const bottom = bottomOf(item);
    if (bottom > top) places.push({ item, bottom });
    if (places.length === HELD) break;
  }
  return places;
}

function bottomOf(element: Element): number {
  return element.getBoundingClientRect().bottom;
}
