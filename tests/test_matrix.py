"""Every combination of answers gives a project that keeps what the template promises."""

import shutil
from pathlib import Path

import pytest

from tests.gates import expect_none
from tests.gates.dependencies import undeclared_or_unused
from tests.gates.files import files_in, in_no_project, wrong_files
from tests.gates.residue import traces_of_jinja, traces_of_unchosen
from tests.gates.suite import (
    OF_THE_WHOLE,
    PROVEN_WITH_COOKIE,
    collected,
    failing_tests,
    sibling_of,
    suite_of,
)
from tests.gates.syntax import unparsable
from tests.gates.tools import lint_errors, type_errors, unformatted
from tests.template import COMBINATIONS, Combination, Rendered, render, sample, snapshot

every_combination = pytest.mark.parametrize("combination", COMBINATIONS, ids=str)


# Those of the sample run theirs in environments of their own: tests/test_install.py.
@pytest.mark.parametrize("combination", [c for c in COMBINATIONS if c not in sample()], ids=str)
def test_suite_passes_and_skips_nothing(tmp_path: Path, combination: Combination) -> None:
    project = render(tmp_path / "my-chat", combination)
    expect_none(failing_tests(project, suite_of(combination)))
    shutil.rmtree(project)


# The tests of the page run with both brokers where there is Redis.
@pytest.mark.parametrize(
    "combination", [c for c in COMBINATIONS if (c.broker, c.client) == ("redis", "html")], ids=str
)
def test_page_comes_back_by_itself(tmp_path: Path, combination: Combination) -> None:
    project = render(tmp_path / "my-chat", combination)
    expect_none(failing_tests(project, ["-m", "browser"]))
    shutil.rmtree(project)


def test_the_default_run_has_the_owners_tests_and_each_mark_its_own(tmp_path: Path) -> None:
    project = render(tmp_path / "my-chat")
    owners = collected(project)
    engine, browser, soak = (collected(project, "-m", it) for it in ("engine", "browser", "soak"))
    assert owners
    assert all(test.startswith("tests/test_") for test in owners)
    assert all(test.startswith("tests/engine/") for test in engine)
    assert all(test.startswith("tests/engine/client/html/") for test in browser)
    assert all(test.startswith("tests/engine/soak/") for test in soak)
    everything = collected(project, "-m", "")
    assert owners | engine | browser | soak == everything
    assert len(owners) + len(engine) + len(browser) + len(soak) == len(everything)


def test_every_suite_that_a_selection_names_is_there() -> None:
    template = snapshot() / "template"
    for name in (*PROVEN_WITH_COOKIE, *OF_THE_WHOLE):
        assert (template / name).exists(), name


# What may differ between siblings, beside the files of an option alone.
FILES_WITH_ANSWERS = {
    ".copier-answers.yml",
    ".env.example",
    ".github/workflows/ci.yml",
    "README.md",
    "app/client/__init__.py",
    "app/realtime/broker/__init__.py",
    "docs/recipes.md",
    "pyproject.toml",
    "tests/support/broker/__init__.py",
}


@every_combination
def test_is_what_its_sibling_is(rendered: Rendered, combination: Combination) -> None:
    """So that what the sibling's suite proves holds here too."""
    project, sibling = rendered(combination), rendered(sibling_of(combination))
    shared = files_in(project) & files_in(sibling) - FILES_WITH_ANSWERS
    assert "app/realtime/manager.py" in shared
    expect_none(
        [
            f"{name}: differs from that of {sibling_of(combination)}"
            for name in sorted(shared)
            if (project / name).read_bytes() != (sibling / name).read_bytes()
        ]
    )


@every_combination
def test_types_are_strict(rendered: Rendered, combination: Combination) -> None:
    expect_none(type_errors(rendered(combination)))


@every_combination
def test_has_exactly_the_files_of_its_options(rendered: Rendered, combination: Combination) -> None:
    expect_none(wrong_files(rendered(combination), combination))


def test_every_file_of_the_template_is_in_some_project(rendered: Rendered) -> None:
    expect_none(in_no_project(map(rendered, COMBINATIONS)))


@every_combination
def test_has_no_trace_of_the_template(rendered: Rendered, combination: Combination) -> None:
    expect_none(traces_of_jinja(rendered(combination)))


@every_combination
def test_has_no_trace_of_other_options(rendered: Rendered, combination: Combination) -> None:
    expect_none(traces_of_unchosen(rendered(combination), combination))


@every_combination
def test_every_file_parses(rendered: Rendered, combination: Combination) -> None:
    expect_none(unparsable(rendered(combination)))


@every_combination
def test_formatter_changes_nothing(rendered: Rendered, combination: Combination) -> None:
    expect_none(unformatted(rendered(combination)))


@every_combination
def test_linter_is_content(rendered: Rendered, combination: Combination) -> None:
    expect_none(lint_errors(rendered(combination)))


@every_combination
def test_dependencies_are_those_imported(rendered: Rendered, combination: Combination) -> None:
    expect_none(undeclared_or_unused(rendered(combination)))
