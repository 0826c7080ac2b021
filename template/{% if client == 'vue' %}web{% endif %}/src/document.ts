/** The name of the application. */
export const NAME = meta("application-name");

/** What it is for, in one sentence, or "". */
export const DESCRIPTION = meta("description");

/** Load the page anew, without a question about messages that this one has not sent. */
export function reload(): void {
  window.onbeforeunload = null;
  location.reload();
}

function meta(name: string): string {
  return document.querySelector<HTMLMetaElement>(`meta[name="${name}"]`)?.content ?? "";
}
