"""User names: which are allowed, and which look like one another.

Names that people can't tell apart share a skeleton (Unicode Technical Standard 39, section
4): "ada", for example, and the same with a Cyrillic letter at its beginning.
"""

import json
import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from app.auth.accounts.errors import InvalidAccount

MAX_NAME_LENGTH = 64

MAX_SKELETON_LENGTH = 255
"""Longer ones are cut. Those of names with ordinary letters are seldom longer than 128."""

KEYBOARDS = 4
"""How many times longer a text may be when a keyboard sends it in combining parts.

Longer texts are not normalized at all, because that takes quadratic time.
"""

# They count as printable but are invisible, so two names could look the same.
INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)


def clean_name(name: str) -> str:
    """The form in which a user name is kept and shown (Unicode NFKC).

    Raises InvalidAccount unless it is 1 to 64 visible characters.
    """
    if len(name) <= KEYBOARDS * MAX_NAME_LENGTH:
        name = unicodedata.normalize("NFKC", name)
    if not 1 <= len(name) <= MAX_NAME_LENGTH:
        raise InvalidAccount(f"A user name must have 1 to {MAX_NAME_LENGTH} characters.")
    if name != name.strip():
        raise InvalidAccount("A user name must not begin or end with white space.")
    if not name.isprintable() or INVISIBLE.search(name):
        raise InvalidAccount("A user name must not hold control or invisible characters.")
    return name


def name_key(name: str) -> str:
    """What names that differ only in upper and lower case have in common."""
    return unicodedata.normalize("NFKC", name.casefold())


def skeletons(name: str) -> set[str]:
    """What a clean name looks like. Names with a skeleton in common look alike.

    There are two, because a name may be read as it is written, "paypaI" as "paypal", or
    without regard to case, "IDA" as "ida".
    """
    return {name_key(skeleton(form))[:MAX_SKELETON_LENGTH] for form in (name, name_key(name))}


def skeleton(text: str) -> str:
    """The skeleton of a text, whose invisible characters `clean_name` has refused."""
    known = prototypes()
    decomposed = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFD", "".join(known.get(char, char) for char in decomposed))


def find_reserved(name: str, reserved: Iterable[str]) -> str | None:
    """The entry of RESERVED_NAMES that a clean name looks like, if there is one."""
    looks = skeletons(name)
    for entry in reserved:
        is_prefix = entry.endswith("*")
        for look in skeletons(entry.removesuffix("*")):
            if look in looks or (is_prefix and any(each.startswith(look) for each in looks)):
                return entry
    return None


@cache
def prototypes() -> dict[str, str]:
    """What stands for each character that can be confused with others.

    The table pairs each of them with its prototype, and the prototype with all of them. Of
    two that are paired with each other only, either one can stand for both.
    """
    table = json.loads(files("confusable_homoglyphs").joinpath("confusables.json").read_bytes())
    partners = {
        unmarked(text): {unmarked(pair["c"]) for pair in pairs} for text, pairs in table.items()
    }
    found = {}
    for char, others in partners.items():
        if len(char) > 1 or len(others) > 1:
            continue  # a prototype
        (other,) = others
        if len(partners[other]) > 1 or len(other) > 1 or other < char:
            found[char] = other
    # The characters of a prototype may have prototypes themselves.
    return {
        char: "".join(found.get(part, part) for part in prototype)
        for char, prototype in found.items()
    }


def unmarked(text: str) -> str:
    """Without the marks that the table has around letters that are written from right to left."""
    return text.strip("\N{LEFT-TO-RIGHT MARK}") or text
