"""What the questionnaire accepts, what it refuses, and what it makes of a folder's name."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path

import pytest
import yaml

from tests.gates import expect_none
from tests.gates.dependencies import name_of
from tests.gates.files import wrong_files
from tests.gates.residue import traces_of_jinja
from tests.gates.syntax import unparsable
from tests.gates.tools import lint_errors, unformatted
from tests.owner import differences, hand_over
from tests.template import (
    DEFAULT,
    QUESTIONNAIRE,
    ROOT,
    Combination,
    choices,
    render,
    run_copier,
    snapshot,
)


def test_copying_runs_nothing_so_it_asks_for_no_trust() -> None:
    assert not {"_tasks", "_jinja_extensions"} & QUESTIONNAIRE.keys()


def test_every_question_says_what_it_means_and_has_a_default() -> None:
    questions = {name: it for name, it in QUESTIONNAIRE.items() if not name.startswith("_")}
    assert all(question["help"] and "default" in question for question in questions.values())


def copy(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `copier copy --defaults`, with nobody to answer a question."""
    return run_copier("copy", "--defaults", "--vcs-ref=HEAD", *options, snapshot(), project)


def test_default_answers_need_neither_a_person_nor_trust(tmp_path: Path) -> None:
    project = tmp_path / "my-chat"
    result = copy(project)
    assert result.returncode == 0, result.stderr
    expect_none(wrong_files(project, DEFAULT))
    for line in (f"cd {project}", "uv sync", "uv run fastapi dev"):
        assert f"\n    {line}\n" in result.stderr


def test_an_answer_is_refused_on_the_command_line_too(tmp_path: Path) -> None:
    project = tmp_path / "my-chat"
    result = copy(project, "--data=broker=pigeon")
    assert result.returncode != 0
    assert "Invalid choice for 'broker': 'pigeon' is not in ['redis', 'postgres'" in result.stderr
    assert not project.exists()


def test_a_byte_that_is_no_text_is_refused_on_the_command_line(tmp_path: Path) -> None:
    project = tmp_path / "my-chat"
    result = copy(project, os.fsdecode(b"--data=description=caf\xe9"))
    assert result.returncode != 0
    assert "must be one line of printable characters" in result.stderr
    assert not project.exists()


# --- Names --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("my-chat", "my-chat"),
        ("My Chat!", "my-chat"),
        ("123", "123"),
        ("...", "my-chat"),
        ("___", "my-chat"),
        ("聊天", "my-chat"),
        (".hidden", "hidden"),
        ("a__b--c", "a-b-c"),
        ("it's {{ here }}", "it-s-here"),
        ("x" * 70, "x" * 64),
        ("x" * 63 + "-y", "x" * 63),
    ],
)
def test_the_name_comes_from_the_folder(tmp_path: Path, folder: str, name: str) -> None:
    project = render(tmp_path / folder)
    assert tomllib.loads((project / "pyproject.toml").read_text())["project"]["name"] == name


RESERVED_ON_WINDOWS = ["con", "NUL.txt", "aux", "com1", "lpt9.tar.gz"]


@pytest.mark.parametrize(
    "name",
    [
        *("a", "A", "7", "my.chat", "my_chat", "My-Chat-2", "x" * 64, "0" * 64, "2001.a.space"),
        *("true", "null", "1e3", "0x1f", "1.0", "app", "tests", "class", *RESERVED_ON_WINDOWS),
    ],
)
def test_every_distribution_name_is_accepted(tmp_path: Path, name: str) -> None:
    project = render(tmp_path / "project", answers={"project_name": name})
    assert tomllib.loads((project / "pyproject.toml").read_text())["project"]["name"] == name
    expect_none(unparsable(project))
    expect_none(unformatted(project))


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "-a", "a-", ".a", "a_", "a b", "a/b", "../a", "a\n", "é", "x" * 65),
        *('a"b', "a'b", "{{ x }}", "<script>", "-"),
    ],
)
def test_what_is_no_distribution_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="must be 1 to 64 ASCII letters, digits, dots"):
        render(tmp_path / "project", answers={"project_name": name})
    assert not (tmp_path / "project").exists()


@pytest.mark.parametrize("name", ["anyio", "wrapt", "SQLAlchemy", "pydantic_settings"])
def test_a_project_cannot_have_the_name_of_its_dependency(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="must not be the name of a package"):
        render(tmp_path / "project", answers={"project_name": name})


def test_the_reserved_names_are_those_of_the_packages_that_projects_install() -> None:
    """What any project declares, and what that requires in turn, on any platform.

    uv takes a project for the package of its name, so it would not install the package.
    """
    validator = QUESTIONNAIRE["project_name"]["validator"]
    reserved = re.search(r"in '([^']*)'\.split\(\)", validator)
    assert reserved is not None
    locked = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    required = {
        package["name"]: [
            *package.get("dependencies", []),
            *chain(*package.get("optional-dependencies", {}).values()),  # of the chosen extras
        ]
        for package in locked
    }
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    left = [name_of(requirement) for requirement in groups["generated"]]
    installed = set[str]()
    while left:
        name = left.pop()
        if name not in installed:
            installed.add(name)
            left += [requirement["name"] for requirement in required[name]]
    assert reserved[1].split() == sorted(installed)


# --- Choices and types --------------------------------------------------------


@pytest.mark.parametrize("question", ["license", "auth", "broker", "client"])
@pytest.mark.parametrize("answer", ["pigeon", "", 3], ids=repr)
def test_an_unknown_choice_is_refused(tmp_path: Path, question: str, answer: object) -> None:
    with pytest.raises(ValueError, match=f"Invalid choice for '{question}'"):
        render(tmp_path / "project", answers={question: answer})
    assert not (tmp_path / "project").exists()


@pytest.mark.parametrize("question", ["description", "author"])
@pytest.mark.parametrize(
    "character",
    [
        *("\n", "\r", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\u2029"),
        *("\u202e", "\u2066", "\ud800", "\uffff"),  # the other direction, half a character, none
    ],
)
def test_a_text_of_more_than_one_line_is_refused(
    tmp_path: Path, question: str, character: str
) -> None:
    with pytest.raises(ValueError, match="must be one line of printable characters"):
        render(tmp_path / "project", answers={question: f"two{character}lines"})


# --- Texts --------------------------------------------------------------------

TEXTS = [
    'say "hello"',
    "it's",
    "back\\slash \\n \\",
    "{{ project_name }}",
    "{% raw %} {# no #}",
    "<script>alert(1)</script>",
    "</p><!-- & &amp;",
    "Žluťoučký kůň 聊天 💬",
    "# no comment: [a](b) `c` *d* | e",
    "'''\"\"\"",
    "- yes: no",
    "${HOME} $(id) `id` %s {}",
    " spaces around ",
    "!!python/object:x &a *b",
    "shalom שלום, cafe\u0301, 👩\u200d🚀, \u00a0\ufeff",
    '"; import os; os.abort() #',
    "con",
    "<!--",
    "]]>",
    "x" * 500,
    "long " * 4000,
]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:20])
def test_any_line_of_text_stands_as_it_is(tmp_path: Path, text: str) -> None:
    answers = {"description": text, "author": text, "license": "MIT"}
    project = render(tmp_path / "project", answers=answers)
    expect_none(wrong_files(project, DEFAULT, licensed=True))
    expect_none(unparsable(project))
    expect_none(unformatted(project))
    expect_none(lint_errors(project))
    metadata = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    assert metadata["description"] == text
    assert metadata["authors"] == [{"name": text}]
    assert text in (project / "LICENSE").read_text()
    recorded = yaml.safe_load((project / ".copier-answers.yml").read_text())
    assert answers.items() <= recorded.items()
    page = (project / "web" / "index.html").read_text()
    assert "<script>alert" not in page


def test_without_texts_nothing_stands_empty(tmp_path: Path) -> None:
    metadata = tomllib.loads((render(tmp_path / "project") / "pyproject.toml").read_text())
    assert not {"description", "authors", "license"} & metadata["project"].keys()


@pytest.mark.parametrize("license_", choices("license"))
def test_a_licence_is_there_when_it_was_chosen(tmp_path: Path, license_: str) -> None:
    answers = {"license": license_, "author": "Ada Lovelace"}
    project = render(tmp_path / "project", answers=answers)
    licensed = license_ != "none"
    expect_none(wrong_files(project, DEFAULT, licensed=licensed))
    expect_none(traces_of_jinja(project))
    metadata = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    assert metadata.get("license") == (license_ if licensed else None)
    if license_ == "MIT":  # the Apache License names nobody
        assert "Ada Lovelace" in (project / "LICENSE").read_text()


@pytest.mark.parametrize(
    "answers",
    [
        {"project_name": "con", "description": 'it\'s "{{ x }}" \\', "author": 'O\'Neill, "Ada"'},
        {"project_name": "7.nul", "description": "聊天 💬" * 300, "author": "\\N{BULLET}"},
    ],
    ids=["con", "7.nul"],
)
@pytest.mark.parametrize("auth", choices("auth"))
def test_a_project_of_hostile_answers_starts(
    tmp_path: Path, auth: str, answers: dict[str, str]
) -> None:
    project = render(tmp_path / "project", Combination(auth, "redis", "html"), answers)
    expect_none(unparsable(project))
    expect_none(unformatted(project))
    expect_none(lint_errors(project))
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", "from app.main import app; print(app.title)"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout.strip()) == (0, answers["project_name"]), result.stderr


# --- Copiers ------------------------------------------------------------------

OLDEST = f"copier@{QUESTIONNAIRE['_min_copier_version']}"
NEWEST = "copier@latest"


def with_copier(version: str, *arguments: str | Path, cwd: Path) -> str:
    """Run one version of copier, from an environment that uv keeps in .cache/."""
    environment = os.environ | {"UV_CACHE_DIR": str(ROOT / ".cache" / "uv-tools")}
    command: Sequence[str | Path] = ["uv", "tool", "run", "--quiet", version, *arguments]
    result = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_the_oldest_and_the_newest_copier_make_the_same(tmp_path: Path, version: str) -> None:
    """Copied with one of them, switched with it, and as good as from the one in .venv/."""
    assert re.search(r"\d", with_copier(version, "--version", cwd=tmp_path))
    before, after = DEFAULT, Combination("ticket", "memory", "none")
    project = tmp_path / "my-chat"
    data = [f"--data={name}={answer}" for name, answer in asdict(before).items()]
    with_copier(version, "copy", "--defaults", *data, snapshot(), project, cwd=tmp_path)
    hand_over(project)
    expect_none(differences(project, render(tmp_path / "fresh" / "my-chat", before)))
    data = [f"--data={name}={answer}" for name, answer in asdict(after).items()]
    with_copier(version, "update", "--vcs-ref=:current:", "--defaults", *data, cwd=project)
    expect_none(differences(project, render(tmp_path / "other" / "my-chat", after)))
