"""Every combination of answers gives a project that keeps what the template promises."""

import itertools
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.gates import expect_none
from tests.gates.dependencies import undeclared_or_unused
from tests.gates.files import in_no_project, wrong_files
from tests.gates.residue import traces_of_jinja, traces_of_unchosen
from tests.gates.suite import (
    OF_THE_BROKER,
    OF_THE_WHOLE,
    PROVEN_WITH_COOKIE,
    PROVEN_WITHOUT_ACCOUNTS,
    collected,
    failing_tests,
    provers,
    suite_of,
)
from tests.gates.syntax import unparsable
from tests.gates.tools import lint_errors, type_errors, unformatted
from tests.matrix import contents, dependences, modules, pairs
from tests.template import (
    COMBINATIONS,
    Combination,
    Rendered,
    choices,
    render,
    sample,
    snapshot,
)

every_combination = pytest.mark.parametrize("combination", COMBINATIONS, ids=str)


# --- Suites ---------------------------------------------------------------------


# Those of the sample run theirs in environments of their own: tests/test_install.py.
@pytest.mark.parametrize(
    "combination",
    [it for it in dict.fromkeys([*provers(), *pairs()]) if it not in sample()],
    ids=str,
)
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
    for name in (*PROVEN_WITHOUT_ACCOUNTS, *PROVEN_WITH_COOKIE, *OF_THE_WHOLE, *OF_THE_BROKER):
        assert (template / name).exists(), name


# --- What a suite proves for other combinations ---------------------------------


def test_any_two_answers_occur_together_in_a_project_whose_suite_runs() -> None:
    for one, other in itertools.combinations(("auth", "broker", "client"), 2):
        for answers in itertools.product(choices(one), choices(other)):
            wanted = {one: answers[0], other: answers[1]}.items()
            assert any(wanted <= asdict(it).items() for it in pairs()), dict(wanted)


SEVERAL_ANSWERS = {
    ".copier-answers.yml",
    ".env.example",
    ".github/workflows/ci.yml",
    "README.md",
    "docs/recipes.md",
    "pyproject.toml",
    # Each page has one of its own, and it is short.
    "web/index.html",
    "web/src/components/auth/index.ts",
}
"""Files in which several answers make a difference."""


def test_what_a_file_contains_depends_on_one_answer(rendered: Rendered) -> None:
    """So the suite that proves it for an answer proves it for all projects with that answer."""
    found = dependences({it: contents(rendered, it) for it in COMBINATIONS})
    assert found["app/auth/__init__.py"] == {"auth"}
    assert found["app/realtime/manager.py"] == set()
    assert {name for name, questions in found.items() if len(questions) > 1} == SEVERAL_ANSWERS


def test_a_file_that_depends_on_two_answers_is_found() -> None:
    of = {
        it: {"one": it.auth, "two": it.auth + it.broker, "none": ""}
        for it in COMBINATIONS
        if it.client == "none"
    }
    assert dependences(of) == {"one": {"auth"}, "two": {"auth", "broker"}, "none": set()}


# --- Files ------------------------------------------------------------------------


def test_every_distinct_module_is_formatted_linted_and_typed(rendered: Rendered) -> None:
    """In a project of those that together have all of them."""
    findings = []
    for combination in modules(rendered):
        project = rendered(combination)
        found = [*unformatted(project), *lint_errors(project), *type_errors(project)]
        findings += [f"{combination}: {it}" for it in found]
    expect_none(findings)


def test_the_projects_with_every_distinct_module_have_every_distinct_module(
    rendered: Rendered,
) -> None:
    def modules_of(combinations: Iterable[Combination]) -> set[tuple[str, str]]:
        found = {it for chosen in combinations for it in contents(rendered, chosen).items()}
        return {it for it in found if it[0].endswith(".py")}

    assert modules_of(modules(rendered)) == modules_of(COMBINATIONS)


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
def test_dependencies_are_those_imported(rendered: Rendered, combination: Combination) -> None:
    expect_none(undeclared_or_unused(rendered(combination)))
