"""Text of other people, made safe for a terminal."""

import unicodedata

PICTURES = 0x2400
"""Where Unicode has a picture of each ASCII control character."""

DELETE = 0x7F
PICTURE_OF_DELETE = "\u2421"
REPLACEMENT = "\ufffd"
HARMLESS = {"\u200d", "\u200c"}
"""They join emoji and letters, and show nothing."""


def visible(text: str, *, keep: str = "") -> str:
    """The text with control characters as pictures, so that none reaches the terminal.

    Escape sequences could move the cursor or change the title, and marks of direction could
    make a name look like another one. The characters in `keep` stay.
    """
    return "".join(it if it in keep or is_harmless(it) else picture_of(it) for it in text)


def is_harmless(character: str) -> bool:
    return character in HARMLESS or unicodedata.category(character) not in {
        "Cc",
        "Cf",
        "Cs",
        "Co",
        "Zl",
        "Zp",
    }


def picture_of(character: str) -> str:
    code = ord(character)
    if code < ord(" "):
        return chr(PICTURES + code)
    return PICTURE_OF_DELETE if code == DELETE else REPLACEMENT
