"""The TypeScript of the web clients: its style, its types, its tests, its size, and what is
compiled from it.
"""

import gzip
import shutil
from pathlib import Path

import pytest

from tests.node import TOOLS, node, tool
from tests.template import ROOT, choices

SOURCE = ROOT / "template/web/src"
HTML = ROOT / "template/{% if client == 'html' %}web{% endif %}"
COMPILED = ("auth", "chat", "realtime")

MOST_BYTES = 8 * 1024
"""What the core and one style of auth may have, minified and with gzip."""


def test_the_html_client_is_what_its_typescript_says(tmp_path: Path) -> None:
    node(TOOLS / "compile.js", tmp_path)
    for folder in COMPILED:
        assert files(HTML / folder) == files(tmp_path / folder), "run `make web`"


def files(folder: Path) -> dict[str, str]:
    """The text of each file, by its path."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_what_is_compiled_has_no_types_and_keeps_its_comments() -> None:
    compiled = files(HTML / "realtime")
    assert "interface" not in compiled["room.js"]
    assert "messages were lost" in compiled["room.js"]
    assert "types.js" not in compiled


def test_the_types_are_right() -> None:
    tool("tsc", "-p", TOOLS)


def test_the_code_is_clean() -> None:
    tool("eslint", "-c", TOOLS / "eslint.config.js", SOURCE)


def test_the_code_is_formatted() -> None:
    tool("prettier", "--config", TOOLS / ".prettierrc.json", "--check", SOURCE)


def test_the_unit_tests_pass() -> None:
    tool("vitest", "run", "--config", TOOLS / "vitest.config.js", cwd=TOOLS)


FAULTS = {
    "takes no notice of a loss": ("room.ts", 'if (this.#isInside) this.#become("outside");', ""),
    "believes in another epoch": ("room.ts", "!(recovered && epoch === since.epoch)", "!recovered"),
    "does not say what is missing": ("log.ts", "this.notice(MISSED);", ";"),
    "listens before it has joined": ("room.ts", "if (!this.#isInside) return;", ""),
    "joins without its position": ("room.ts", "...(since && { since })", ""),
    "leaves late messages at the end": ("log.ts", "      place = index;\n", ""),
    "forgets what had no answer": (
        "outbox.ts",
        "      waiting.mayBeThere ||= waiting.timer !== undefined;\n      stopTimer(waiting);\n",
        "      this.take(waiting.entry.key);\n",
    ),
    "shows a message twice": ("outbox.ts", "this.#waiting.delete(key);", ""),
    "goes on without a heartbeat": ("connection.ts", "this.check(this.#heartbeat);", ""),
}
"""Faults of the core, each a file, a text in it, and another one."""


@pytest.mark.parametrize("fault", FAULTS)
def test_the_model_test_finds_a_fault(tmp_path: Path, fault: str) -> None:
    name, right, wrong = FAULTS[fault]
    shutil.copytree(SOURCE / "realtime", tmp_path / "realtime")
    faulty = tmp_path / "realtime" / name
    text = faulty.read_text()
    assert text.count(right) == 1
    faulty.write_text(text.replace(right, wrong))
    config = TOOLS / "vitest.config.js"
    arguments = ("run", "--config", config, "--root", tmp_path, "--bail", "1", "model")
    with pytest.raises(AssertionError, match="seed"):
        tool("vitest", *arguments, cwd=TOOLS)


@pytest.mark.parametrize("auth", choices("auth"))
def test_the_core_is_small(tmp_path: Path, auth: str) -> None:
    page = tmp_path / "page.ts"
    shutil.copytree(SOURCE, tmp_path / "src")
    page.write_text(
        'export * from "./src/realtime/index.js";\n'
        f'export {{ credentials }} from "./src/auth/{auth}.js";\n'
    )
    bundle = tool("esbuild", page, "--bundle", "--minify", "--format=esm", "--target=es2022").stdout
    size = len(gzip.compress(bundle.encode(), 9))
    assert size <= MOST_BYTES, f"{size} bytes with {auth}"
