// What jsdom lacks of a browser.

import { config } from "@vue/test-utils";
import { afterEach, vi } from "vitest";

class NoResizeObserver implements ResizeObserver {
  observe(): void {
    // Nothing has a size here.
  }
  unobserve(): void {
    // Nothing has a size here.
  }
  disconnect(): void {
    // Nothing has a size here.
  }
}

globalThis.ResizeObserver = NoResizeObserver;
globalThis.matchMedia = (media) =>
  Object.assign(new EventTarget(), { matches: true, media }) as MediaQueryList;
HTMLElement.prototype.showPopover = () => undefined;
HTMLElement.prototype.hidePopover = () => undefined;

// A warning of Vue is an error in a test.
config.global.config.warnHandler = (message) => {
  throw new Error(message);
};

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  document.body.replaceChildren();
  sessionStorage.clear();
  location.hash = "";
});
