/** This close to the end (pixels), the reader counts as being at the end of the log. */
const AT_END = 40;
/** This close to the start (pixels), earlier messages are loaded. */
const NEAR_START = 200;

/** What a scrolling element knows of itself, in pixels. */
export interface Frame {
  scrollTop: number;
  scrollHeight: number;
  clientHeight: number;
}

/** Whether the log scrolls along with new messages. */
export function isAtEnd({ scrollTop, scrollHeight, clientHeight }: Frame): boolean {
  return scrollHeight - scrollTop - clientHeight < AT_END;
}

/** Whether it is time to load earlier messages. */
export function isNearStart({ scrollTop }: Frame): boolean {
  return scrollTop < NEAR_START;
}
