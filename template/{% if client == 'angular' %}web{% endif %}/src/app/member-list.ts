import { ChangeDetectionStrategy, Component, computed, inject } from "@angular/core";
import { memberList } from "../chat/words.js";
import { Chat } from "./chat.js";
import { Realtime } from "./realtime.js";

/** Who is in the room on display. */
@Component({
  selector: "[app-member-list]",
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <h2 id="members-title">
      Members (<span class="member-count" [textContent]="room().memberCount()"></span>)
    </h2>
    <ul id="members">
      @for (member of members().listed; track member.id) {
        <li [attr.data-user]="member.id">
          <bdi>{{ member.name }}</bdi>
          @if (member.id === user()?.id) {
            <span>&ngsp;(you)</span>
          }
        </li>
      }
      @if (members().more; as more) {
        <li>{{ more }}</li>
      }
    </ul>
  `,
})
export class MemberList {
  protected readonly user = inject(Realtime).user;
  protected readonly room = inject(Chat).room;
  protected readonly members = computed(() =>
    memberList(this.room().members(), this.room().memberCount()),
  );
}
