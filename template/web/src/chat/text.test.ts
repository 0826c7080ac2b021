import { expect, test } from "vitest";

import { parts } from "./text.js";

/** The addresses that become links. */
function links(text: string): (string | undefined)[] {
  return parts(text)
    .filter(({ href }) => href !== undefined)
    .map(({ href }) => href);
}

test("http and https addresses become links, and the rest stays text", () => {
  expect(parts("See https://example.org/a?b=c#d and HTTP://example.org now")).toEqual([
    { text: "See " },
    { text: "https://example.org/a?b=c#d", href: "https://example.org/a?b=c#d" },
    { text: " and " },
    { text: "HTTP://example.org", href: "http://example.org/" },
    { text: " now" },
  ]);
  expect(parts("")).toEqual([]);
  expect(parts("no address")).toEqual([{ text: "no address" }]);
});

test.each([
  ["Is it https://example.org/?", "https://example.org/"],
  ["(https://example.org/a)", "https://example.org/a"],
  ["https://example.org/a).", "https://example.org/a"],
  ["https://example.org/Rust_(language)", "https://example.org/Rust_(language)"],
  ["(https://example.org/Rust_(language)), really", "https://example.org/Rust_(language)"],
  ["“https://example.org/a”…", "https://example.org/a%E2%80%9D"],
  ["<https://example.org/a>", "https://example.org/a"],
  ['"https://example.org/a"', "https://example.org/a"],
  ["**https://example.org/a**", "https://example.org/a"],
])("punctuation around an address is not part of it: %s", (text, href) => {
  expect(links(text)).toEqual([href]);
});

test.each([
  "javascript:alert(1)",
  "JaVaScRiPt:alert(1)",
  "data:text/html,<script>alert(1)</script>",
  "vbscript:msgbox(1)",
  "file:///etc/passwd",
  "ftp://example.org/",
  "//example.org/",
  "www.example.org",
  "xhttps://example.org",
  "https://",
  "https://...",
  "https:// example.org",
  "https://bank.example@evil.example/",
  "https://user:secret@evil.example/",
  '<a href="x">here</a>',
])("this stays text: %s", (text) => {
  expect(links(text)).toEqual([]);
  expect(parts(text).map((part) => part.text)).toEqual([text]);
});

test("a link ends before a character that would change the direction of writing", () => {
  const [link, rest] = parts("https://example.org/\u202Egro.knab//:sptth");
  expect(link).toEqual({ text: "https://example.org/", href: "https://example.org/" });
  expect(rest).toEqual({ text: "\u202Egro.knab//:sptth" });
});

test("the parts are the whole text", () => {
  const alphabet = ["https://", "example.org", "/", "(", ")", ".", " ", "\n", "\u202E", "@", "é"];
  let seed = 1;
  for (let round = 0; round < 2_000; round += 1) {
    let text = "";
    for (let length = 0; length < 12; length += 1) {
      seed = (seed * 48_271) % 2_147_483_647;
      text += alphabet[seed % alphabet.length] ?? "";
    }
    const found = parts(text);
    expect(found.map((part) => part.text).join("")).toBe(text);
    for (const { href } of found) expect(href ?? "http://").toMatch(/^https?:\/\//);
  }
});

test("a hostile text takes no time", () => {
  const before = performance.now();
  for (let round = 0; round < 50; round += 1) {
    parts(`https://a${")".repeat(4_000)}`);
    parts("https://".repeat(500));
    parts(`https://a/${"(".repeat(4_000)}`);
  }
  expect(performance.now() - before).toBeLessThan(500);
});
