"""Each gate of the matrix fails when the fault that it is there for is planted."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gates.dependencies import undeclared_or_unused
from tests.gates.files import in_no_project, wrong_files
from tests.gates.residue import traces_of_jinja, traces_of_unchosen
from tests.gates.syntax import unparsable
from tests.gates.tools import lint_errors, type_errors, unformatted
from tests.template import DEFAULT, Combination, render

BARE = Combination(auth="none", broker="memory", client="none")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The default project, to spoil."""
    return render(tmp_path / "my-chat")


def replace(path: Path, old: str, new: str) -> None:
    """Plant a fault: the text must be there, once."""
    text = path.read_text()
    assert text.count(old) == 1, f"{path.name} has {text.count(old)} times: {old}"
    path.write_text(text.replace(old, new))


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


# --- Files --------------------------------------------------------------------


def test_an_unexpected_file_is_found(project: Path) -> None:
    (project / "app" / "unused.py").touch()
    assert wrong_files(project, DEFAULT) == ["app/unused.py: unexpected"]


def test_a_missing_file_is_found(project: Path) -> None:
    (project / "app" / "realtime" / "manager.py").unlink()
    assert wrong_files(project, DEFAULT) == ["app/realtime/manager.py: missing"]


def test_an_empty_folder_is_found(project: Path) -> None:
    (project / "client").mkdir()
    assert wrong_files(project, DEFAULT) == ["client: an empty folder"]


def test_a_file_that_no_project_has_is_found(project: Path) -> None:
    (project / "app" / "events.py").unlink()
    findings = in_no_project([project])
    assert {"app/auth/jwt.py: in no project", "app/events.py: in no project"} <= {*findings}
    assert "app/main.py: in no project" not in findings


# --- Residue ------------------------------------------------------------------


@pytest.mark.parametrize("text", ["{{ project_name }}", "{% endif %}", "{# why #}", "_copier_conf"])
def test_a_trace_of_the_template_is_found(project: Path, text: str) -> None:
    append(project / "README.md", f"\nThis is {text}.\n")
    assert len(traces_of_jinja(project)) == 1


def test_a_file_name_that_was_not_rendered_is_found(project: Path) -> None:
    (project / "{{_copier_conf.answers_file}}").touch()
    assert traces_of_jinja(project) == ["{{_copier_conf.answers_file}}"]


@pytest.mark.parametrize(
    "text",
    [
        "Set BROKER_URL=redis://localhost.",
        "The session cookie is signed.",
        "Send an access token.",
        "Log in first.",
        "SECRET_KEYS is required.",
        "Open web/index.html.",
        "docker compose up",
        "import sqlalchemy",
    ],
)
def test_a_trace_of_an_option_that_was_not_chosen_is_found(tmp_path: Path, text: str) -> None:
    project = render(tmp_path / "my-chat", BARE)
    append(project / "README.md", f"\n{text}\n")
    assert traces_of_unchosen(project, BARE)


def test_a_guest_in_a_project_with_accounts_is_found(project: Path) -> None:
    append(project / "README.md", "\nEverybody is a guest.\n")
    assert traces_of_unchosen(project, DEFAULT)


# --- Syntax -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("app/broken.py", "def f(:\n"),
        ("app/doubtful.py", 'PATTERN = "\\d"\n'),
        ("broken.toml", "a = \n"),
        ("broken.yml", "a: [\n"),
        ("broken.yaml", "a: b: c\n"),
        ("broken.json", "{'a': 1}\n"),
        ("web/broken.html", "<!doctype html><html><body><p><div></p></body></html>\n"),
    ],
)
def test_a_file_that_does_not_parse_is_found(project: Path, name: str, text: str) -> None:
    (project / name).write_text(text)
    findings = unparsable(project)
    assert len(findings) == 1
    assert findings[0].startswith(f"{name}: ")


# --- Tools --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gate", "line"),
    [
        (unformatted, "ANSWER = {'a':1}\n"),
        (lint_errors, "import os\n"),
        (type_errors, 'ANSWER: int = "42"\n'),
        (type_errors, "def untyped(answer):\n    return answer\n"),
    ],
)
def test_what_the_shipped_tools_refuse_is_found(
    project: Path, gate: Callable[[Path], list[str]], line: str
) -> None:
    (project / "app" / "broken.py").write_text(line)
    assert any("broken.py" in finding for finding in gate(project))


# --- Dependencies -------------------------------------------------------------


def test_an_undeclared_import_is_found(project: Path) -> None:
    append(project / "app" / "main.py", "import click\n")
    assert undeclared_or_unused(project) == ["app imports click: no dependency"]


def test_an_app_that_imports_what_only_development_has_is_found(project: Path) -> None:
    append(project / "app" / "main.py", "import httpx\n")
    assert undeclared_or_unused(project) == ["app imports httpx: no dependency"]


def test_an_undeclared_import_of_tests_is_found(project: Path) -> None:
    append(project / "tests" / "support" / "client.py", "import yaml\n")
    assert undeclared_or_unused(project) == ["tests import pyyaml: no dependency, nor in a group"]


def test_an_unused_dependency_is_found(project: Path) -> None:
    replace(project / "pyproject.toml", "dependencies = [\n", 'dependencies = [\n    "click",\n')
    assert undeclared_or_unused(project) == ["click: a dependency that app does not import"]


def test_an_unused_dependency_of_development_is_found(project: Path) -> None:
    replace(project / "pyproject.toml", "dev = [\n", 'dev = [\n    "click",\n')
    assert undeclared_or_unused(project) == ["click: in a group, but tests do not import it"]
