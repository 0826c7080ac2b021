import { Directive, DOCUMENT, inject } from "@angular/core";

/** The first button of the page, which leads a keyboard past the rooms. */
@Directive({ selector: "button[app-skip]", host: { "(click)": "focus()" } })
export class Skip {
  readonly #document = inject(DOCUMENT);

  protected focus(): void {
    this.#document.getElementById("text")?.focus();
  }
}
