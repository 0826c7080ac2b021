"""What clients rely on: the AsyncAPI document, and the types that pages are built with."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.node import install, node, tool
from tests.template import ROOT, Combination, Rendered, choices

OWN_APP = "tests.engine.contract.shapes"


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    install()


def written(project: Path, *arguments: str, module: str = "app") -> str:
    """What a command of a project prints."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    return done.stdout


# --- The document -----------------------------------------------------------------


@pytest.mark.parametrize("module", ["app", OWN_APP])
@pytest.mark.parametrize("auth", choices("auth"))
def test_the_reference_parser_finds_nothing_wrong(
    rendered: Rendered, tmp_path: Path, auth: str, module: str
) -> None:
    project = rendered(Combination(auth, "memory", "none"))
    document = tmp_path / "asyncapi.json"
    document.write_text(written(project, "asyncapi", module=module))
    node(ROOT / "npm" / "asyncapi.js", document)


def test_the_reference_parser_would_find_it(rendered: Rendered, tmp_path: Path) -> None:
    project = rendered(Combination("none", "memory", "none"))
    document = tmp_path / "asyncapi.json"
    text = written(project, "asyncapi")
    document.write_text(text.replace('"action": "send"', '"action": "shout"'))
    with pytest.raises(AssertionError, match="action"):
        node(ROOT / "npm" / "asyncapi.js", document)


# --- The types --------------------------------------------------------------------

PAGE = """\
import { Client, type Room } from "./realtime/index.js";
import type { Application } from "./events.js";
import { credentials } from "./auth/index.js";

export function say(room: Room<Application>): string {
  room.signal("chat.typing", {});
  return room.publish("chat.message", { text: "hello" });
}

export function read(room: Room<Application>): string[] {
  return room.entries.flatMap((entry) => (entry.kind === "message" ? [entry.data.text] : []));
}

export const client = new Client<Application>(credentials);
"""
"""A small client of the example application."""


@pytest.fixture
def page(rendered: Rendered, tmp_path: Path) -> Path:
    """A folder with the sources that all built pages share, and the client."""
    source = rendered(Combination("none", "memory", "react")) / "web" / "src"
    folder = tmp_path / "page" / "src"
    for name in ("realtime", "auth"):
        for path in (source / name).rglob("*.ts"):
            target = folder / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(path.read_text())
    (folder / "page.ts").write_text(PAGE)
    config = (ROOT / "npm" / "tsconfig.json").read_text()
    (folder.parent / "tsconfig.json").write_text(
        config.replace("../template/web/src", "src/page.ts")
    )
    return folder


def build(page: Path, types: str) -> None:
    """Check the client with such types. Raises AssertionError with what is wrong."""
    (page / "events.ts").write_text(types)
    tool("tsc", "--project", page.parent)


def test_the_pages_are_built_with_the_types_of_the_example(rendered: Rendered, page: Path) -> None:
    project = rendered(Combination("none", "memory", "react"))
    committed = (project / "web/src/events.ts").read_text()
    assert committed == written(project, "typescript")
    build(page, committed)


def test_renaming_a_field_of_an_event_breaks_the_build(
    rendered: Rendered, page: Path, tmp_path: Path
) -> None:
    project = rendered(Combination("none", "memory", "react"))
    shutil.copytree(project / "app", tmp_path / "app")
    events = tmp_path / "app" / "events.py"
    events.write_text(events.read_text().replace("    text: ", "    body: "))
    types = written(tmp_path, "typescript")
    assert "body: string" in types
    with pytest.raises(AssertionError) as failure:
        build(page, types)
    wrong = set(re.findall(r"page\.ts\((\d+),", str(failure.value)))
    assert wrong == {"7", "11"}  # where it publishes, and where it reads


def test_types_of_every_shape_are_formatted_and_strict(rendered: Rendered, page: Path) -> None:
    project = rendered(Combination("none", "memory", "react"))
    shapes = project / "tests" / "engine" / "contract" / "shapes.ts"
    tool("prettier", "--config", ROOT / "npm" / ".prettierrc.json", "--check", shapes)
    build(page, (project / "web/src/events.ts").read_text())
    (page / "page.ts").write_text(shapes.read_text())
    tool("tsc", "--project", page.parent)
