// Control and format characters are not part of a link. Some of them reverse the order in
// which the characters after them are shown, and so hide where a link leads.
const ADDRESS = /\bhttps?:\/\/[^\s<>"`\p{Cc}\p{Cf}]+/giu;
// At the end of an address, these belong to the sentence around it.
const PUNCTUATION = new Set(".,;:!?'*_~]}…");

/**
 * Split a text into plain text and links. Only http and https addresses become links. The
 * texts of the parts, joined, are the whole text.
 */
export function parts(text) {
  const found = [];
  let end = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const address = withoutPunctuation(match[0]);
    const href = hrefOf(address);
    if (href === null) continue;
    if (match.index > end) found.push({ text: text.slice(end, match.index) });
    found.push({ text: address, href });
    end = match.index + address.length;
  }
  if (end < text.length) found.push({ text: text.slice(end) });
  return found;
}

/** Where a link leads, or null if the address should not be one. */
function hrefOf(address) {
  if (!URL.canParse(address)) return null;
  const { href, origin } = new URL(address);
  // In https://bank.example@evil.example/, what looks like the host is the name of a user.
  return href.startsWith(`${origin}/`) ? href : null;
}

/** A closing bracket stays if it was opened in the address, as in …/Rust_(language). */
function withoutPunctuation(address) {
  let end = address.length;
  let surplus = address.split(")").length - address.split("(").length;
  for (; end > 0; end -= 1) {
    const last = address.charAt(end - 1);
    if (last === ")" && surplus > 0) surplus -= 1;
    else if (!PUNCTUATION.has(last)) break;
  }
  return address.slice(0, end);
}
