// What browsers have and jsdom does not.

class NoLayout {
  observe(): void {}
  disconnect(): void {}
}

Object.assign(globalThis, {
  ResizeObserver: NoLayout,
  matchMedia: () => Object.assign(new EventTarget(), { matches: true }),
});

HTMLElement.prototype.hidePopover ??= () => undefined;

Object.assign(HTMLDialogElement.prototype, {
  showModal(this: HTMLDialogElement) {
    this.open = true;
  },
  close(this: HTMLDialogElement, answer: string) {
    this.open = false;
    this.returnValue = answer;
    this.dispatchEvent(new Event("close"));
  },
});
