import {
  ChangeDetectionStrategy,
  Component,
  DestroyRef,
  DOCUMENT,
  ElementRef,
  inject,
} from "@angular/core";
import { MemberList } from "./member-list.js";
import { RoomList } from "./room-list.js";

/** The panel beside the room. In a narrow window it opens over the room. */
@Component({
  selector: "[app-panel]",
  imports: [MemberList, RoomList],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <button id="close-panel" type="button" popovertarget="panel" popovertargetaction="hide">
      Close
    </button>
    <nav aria-labelledby="rooms-title" app-room-list (chosen)="hide()"></nav>
    <section aria-labelledby="members-title" app-member-list></section>
  `,
})
export class Panel {
  readonly #element = inject<ElementRef<HTMLElement>>(ElementRef).nativeElement;

  constructor() {
    // Wide windows show the panel beside the messages, not over them.
    const isWide = inject(DOCUMENT).defaultView?.matchMedia("(min-width: 48rem)");
    const hide = (): void => this.hide();
    isWide?.addEventListener("change", hide);
    inject(DestroyRef).onDestroy(() => isWide?.removeEventListener("change", hide));
  }

  protected hide(): void {
    this.#element.hidePopover();
  }
}
