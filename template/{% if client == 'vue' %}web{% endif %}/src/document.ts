/** What index.html says of this page. */

/** The name of the application. */
export const NAME = meta("application-name");

/** What it is for, in one sentence, or "". */
export const DESCRIPTION = meta("description");

function meta(name: string): string {
  return document.querySelector<HTMLMetaElement>(`meta[name="${name}"]`)?.content ?? "";
}
