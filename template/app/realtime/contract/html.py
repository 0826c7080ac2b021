"""HTML as text, in which everything that is not markup is escaped."""

import re
from collections.abc import Iterable
from html import escape


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(name: str, *children: str, **attributes: str) -> Markup:
    """An element. Children are escaped unless they are Markup; `class_` is `class`."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
    )
    return Markup(f"<{name}{given}>{join(children)}</{name}>")


def join(children: Iterable[str], between: str = "") -> Markup:
    """Several pieces of text and HTML, one after the other."""
    return Markup(
        escape(between).join(it if isinstance(it, Markup) else escape(it) for it in children)
    )


def link(text: str, target: str) -> Markup:
    return element("a", text, href=target)


def code(text: str) -> Markup:
    return element("code", text)


def paragraphs(text: str) -> Markup:
    """Text with `code` in it, as paragraphs that empty lines separate."""
    parts = [part for part in re.split(r"\n\s*\n", text.strip()) if part]
    return join(element("p", inline(part)) for part in parts)


def inline(text: str) -> Markup:
    pieces = re.split(r"`([^`]+)`", text)
    return join(code(piece) if number % 2 else piece for number, piece in enumerate(pieces))


def table(heads: Iterable[str], rows: Iterable[Iterable[str]], label: str) -> Markup:
    """A table that scrolls sideways where it is too wide; the keyboard reaches it."""
    head = element("tr", *(element("th", it, scope="col") for it in heads))
    body = [element("tr", *(element("td", cell) for cell in row)) for row in rows]
    found = element("table", element("thead", head), element("tbody", *body))
    return element("div", found, class_="scroll", role="region", aria_label=label, tabindex="0")
