/** The name of the application, from index.html. */
export const APPLICATION = meta("application-name");

/** What the application is for, or "". */
export const DESCRIPTION = meta("description");

function meta(name: string): string {
  return document.querySelector<HTMLMetaElement>(`meta[name="${name}"]`)?.content ?? "";
}
