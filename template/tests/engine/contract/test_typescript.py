"""The TypeScript that is made from models of every shape."""

from pathlib import Path

from app.realtime.contract.typescript import doc, typescript
from tests.engine.contract.shapes import MESSAGES

EXPECTED = Path(__file__).with_name("shapes.ts")


def test_every_shape_has_its_type() -> None:
    """The file passes Prettier and `tsc --strict`: after a change, check that by hand."""
    assert typescript(MESSAGES) == EXPECTED.read_text(encoding="utf-8")


def test_a_docstring_cannot_end_its_comment() -> None:
    assert doc("a */ alert(1) /* b") == "/** a *\\/ alert(1) /* b */\n"
