/** Begin with a new page, without a question about messages that this one has not sent. */
export function reload(): void {
  window.onbeforeunload = null;
  location.reload();
}
