import { onBeforeUpdate, onMounted, onScopeDispose, onUpdated, shallowRef } from "vue";
import type { ShallowRef } from "vue";

import { isAtEnd, isNearStart } from "../chat/scroll.js";

/**
 * How a log scrolls: along with new messages while the reader is at the end. Anywhere else,
 * the text that is in view stays where it is. `frame` scrolls, and the texts in it have the
 * class "text". `onNearStart` is called when the reader comes near the start.
 */
export function useScroll(
  frame: Readonly<ShallowRef<HTMLElement | null>>,
  onNearStart: () => void,
) {
  const isEnd = shallowRef(true);
  let inView: { item: Element; top: number } | null = null;
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
    inView = isEnd.value || frame.value === null ? null : firstInView(frame.value);
  });
  onUpdated(() => {
    if (frame.value === null || inView?.item.isConnected !== true) return;
    frame.value.scrollTop += topOf(inView.item) - inView.top;
  });

  function toEnd() {
    isEnd.value = true;
    if (frame.value !== null) frame.value.scrollTop = frame.value.scrollHeight;
  }

  function scrolled() {
    if (frame.value === null) return;
    // New messages lengthen the log before it scrolls: only who scrolls up leaves the end.
    const isStill = isEnd.value && frame.value.scrollTop >= lastTop;
    isEnd.value = isStill || isAtEnd(frame.value);
    lastTop = frame.value.scrollTop;
    if (isNearStart(frame.value)) onNearStart();
  }

  return { isEnd, toEnd, scrolled };
}

function firstInView(frame: HTMLElement) {
  const top = topOf(frame);
  // The name above a text goes when an earlier message of the same sender comes before it.
  for (const item of frame.querySelectorAll(".text")) {
    if (item.getBoundingClientRect().bottom > top) return { item, top: topOf(item) };
  }
  return null;
}

function topOf(element: Element): number {
  return element.getBoundingClientRect().top;
}
