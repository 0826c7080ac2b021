import { expect, test } from "vitest";

import { isAtEnd, isNearStart } from "./scroll.js";

test("a reader near the end counts as being at the end", () => {
  const frame = { scrollHeight: 1_000, clientHeight: 400 };
  expect(isAtEnd({ ...frame, scrollTop: 600 })).toBe(true);
  expect(isAtEnd({ ...frame, scrollTop: 561 })).toBe(true);
  expect(isAtEnd({ ...frame, scrollTop: 560 })).toBe(false);
});

test("earlier messages are loaded near the start", () => {
  const frame = { scrollHeight: 1_000, clientHeight: 400 };
  expect(isNearStart({ ...frame, scrollTop: 199 })).toBe(true);
  expect(isNearStart({ ...frame, scrollTop: 200 })).toBe(false);
});
