import { InjectionToken } from "@angular/core";

/** Begin with a new page, without a question about messages that this one has not sent. */
export const RELOAD = new InjectionToken<() => void>("RELOAD", {
  factory: () => () => {
    window.onbeforeunload = null;
    location.reload();
  },
});
