import { DOCUMENT, inject, InjectionToken } from "@angular/core";

/** The name of the application, as it is in index.html. */
export const TITLE = new InjectionToken<string>("TITLE", {
  factory: () => inject(DOCUMENT).title,
});

/** What the application is, as it is in index.html, or "". */
export const DESCRIPTION = new InjectionToken<string>("DESCRIPTION", {
  factory: () =>
    inject(DOCUMENT).querySelector<HTMLMetaElement>('meta[name="description"]')?.content ?? "",
});
