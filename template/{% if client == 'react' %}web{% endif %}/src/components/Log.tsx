import { Component, createRef } from "react";

import { isAtEnd, isNearStart } from "../chat/scroll.js";
import { newMessages } from "../chat/words.js";
import type { Application } from "../events.js";
import type { RoomView } from "../hooks/index.js";
import type { Entry } from "../realtime/index.js";
import { EarlierButton } from "./EarlierButton.js";
import { Messages } from "./Messages.js";
import { holdPlace } from "./place.js";

/** How long (milliseconds) a screen reader announces nothing after a change of what is past. */
const SILENCE = 500;

interface Props {
  room: RoomView;
  /** The key of the first unread entry, or null. */
  unreadFrom: string | null;
}

interface State {
  /** How many new entries came while the reader was not at the end. */
  unseen: number;
}

/**
 * The log of a room. It scrolls along while the reader is at the end, and otherwise keeps what
 * the reader sees in its place. This is a class because there is no hook for what has to be
 * done right before the document changes.
 */
export class Log extends Component<Props, State> {
  override state: State = { unseen: 0 };
  private readonly frame = createRef<HTMLDivElement>();
  private isAtEnd = true;
  private scrollTop = 0;
  private silence: ReturnType<typeof setTimeout> | undefined;
  private resized: ResizeObserver | undefined;

  override componentDidMount(): void {
    if (this.frame.current === null) return;
    this.beSilent();
    this.scrollToEnd();
    // A screen keyboard makes the frame lower.
    this.resized = new ResizeObserver(() => {
      if (this.isAtEnd) this.scrollToEnd();
    });
    this.resized.observe(this.frame.current);
  }

  override componentWillUnmount(): void {
    clearTimeout(this.silence);
    this.resized?.disconnect();
  }

  override getSnapshotBeforeUpdate(before: Props): (() => void) | null {
    // A screen reader should not announce the past.
    if (this.addedSince(before).some(isPast)) this.beSilent();
    const frame = this.frame.current;
    return this.isAtEnd || frame === null ? null : holdPlace(frame);
  }

  override componentDidUpdate(before: Props, _: State, keepPlace: (() => void) | null): void {
    if (before.room === this.props.room) return;
    const added = this.addedSince(before);
    if (this.isAtEnd || added.some(isWritten)) {
      this.scrollToEnd();
    } else {
      keepPlace?.();
      const news = added.filter(isNews).length;
      if (news > 0) this.setState(({ unseen }) => ({ unseen: unseen + news }));
    }
  }

  override render() {
    const { room, unreadFrom } = this.props;
    const { unseen } = this.state;
    return (
      <>
        <div
          id="log"
          role="log"
          aria-labelledby="room-title"
          tabIndex={0}
          ref={this.frame}
          onScroll={this.scrolled}
        >
          <EarlierButton room={room} onEnd={this.focus} />
          <p id="empty" hidden={room.entries.length > 0 || !room.isKnown}>
            Nothing has been written here lately.
          </p>
          <Messages room={room} unreadFrom={unreadFrom} onDone={this.focus} />
        </div>
        <button id="new-messages" type="button" hidden={unseen === 0} onClick={this.showEnd}>
          {newMessages(unseen)}
        </button>
      </>
    );
  }

  private addedSince({ room }: Props): Entry<Application>[] {
    if (room.entries === this.props.room.entries) return [];
    const known = new Set(room.entries.map(({ key }) => key));
    return this.props.room.entries.filter(({ key }) => !known.has(key));
  }

  private readonly scrolled = (): void => {
    const frame = this.frame.current;
    if (frame === null) return;
    const isUpward = frame.scrollTop < this.scrollTop;
    this.scrollTop = frame.scrollTop;
    this.isAtEnd = isAtEnd(frame);
    if (this.isAtEnd) this.sawAll();
    if (isUpward && isNearStart(frame)) void this.props.room.loadEarlier();
  };

  private readonly showEnd = (): void => {
    this.scrollToEnd();
    this.focus();
  };

  private readonly focus = (): void => {
    this.frame.current?.focus();
  };

  private scrollToEnd(): void {
    const frame = this.frame.current;
    if (frame === null) return;
    frame.scrollTop = frame.scrollHeight;
    this.isAtEnd = true;
    this.sawAll();
  }

  private sawAll(): void {
    if (this.state.unseen > 0) this.setState({ unseen: 0 });
  }

  private beSilent(): void {
    clearTimeout(this.silence);
    this.frame.current?.setAttribute("aria-live", "off");
    this.silence = setTimeout(() => {
      this.frame.current?.removeAttribute("aria-live");
    }, SILENCE);
  }
}

/** What was said before the page came, or before what the reader has scrolled back from. */
function isPast(entry: Entry<Application>): boolean {
  return entry.kind === "message" && !entry.isNew;
}

/** What the user has just written. */
function isWritten(entry: Entry<Application>): boolean {
  return entry.kind === "message" && entry.state === "pending";
}

function isNews(entry: Entry<Application>): boolean {
  return entry.kind === "notice" || entry.isNew;
}
