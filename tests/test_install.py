"""Projects of every option, each in an environment made from its own pyproject.toml."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gates import expect_none
from tests.gates.suite import failing_tests
from tests.interpreters import OWN, newer_interpreters
from tests.template import Combination, choices, render, sample


def install(project: Path, python: Path) -> Path:
    """What README.md tells a person to do. Answers with the environment's interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    command = ["uv", "sync", "--quiet", "--python", str(python)]
    subprocess.run(command, cwd=project, env=environment, check=True)
    return project / ".venv" / "bin" / "python"


def numbered_sample() -> list[tuple[int, Combination]]:
    return list(enumerate(sample()))


@pytest.mark.parametrize(("number", "combination"), numbered_sample(), ids=str)
def test_suite_passes_with_its_own_dependencies_alone(
    tmp_path: Path, number: int, combination: Combination
) -> None:
    """On the oldest interpreter first, and on as many others as there are."""
    interpreters = [Path(sys.executable), *newer_interpreters().values()]
    project = render(tmp_path / "my-chat", combination)
    python = install(project, interpreters[number % len(interpreters)])
    expect_none(failing_tests(project, python=python))


def test_every_newer_interpreter_has_run_a_suite() -> None:
    versions = newer_interpreters()
    if not versions:
        pytest.skip(f"no Python newer than {'.'.join(map(str, OWN))} is installed")
    assert len(versions) < len(sample()), "the sample has too few projects for them"


def test_every_option_is_in_the_sample() -> None:
    for question in ("auth", "broker", "client"):
        assert {getattr(c, question) for c in sample()} == set(choices(question))


@pytest.mark.parametrize("dependency", ["itsdangerous", "redis", "python-multipart"])
def test_a_missing_dependency_is_found(tmp_path: Path, dependency: str) -> None:
    project = render(tmp_path / "my-chat")
    path = project / "pyproject.toml"
    lines = path.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(f'    "{dependency}')]
    assert len(kept) == len(lines) - 1
    path.write_text("".join(kept))
    python = install(project, Path(sys.executable))
    assert failing_tests(project, ["--maxfail=1", "tests/test_realtime.py"], python=python)
