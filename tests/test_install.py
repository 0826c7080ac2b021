"""Projects of every option, each in an environment made from its own pyproject.toml."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gates import expect_none
from tests.gates.suite import failing_tests, suite_of
from tests.interpreters import OWN, newer_interpreters
from tests.template import Combination, choices, render, sample


def install(project: Path, python: Path) -> Path:
    """What README.md tells a person to do. Answers with the environment's interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    command = ["uv", "sync", "--quiet", "--python", str(python)]
    subprocess.run(command, cwd=project, env=environment, check=True)
    return project / ".venv" / "bin" / "python"


def installations() -> list[tuple[Combination, Path]]:
    """Every combination of the sample, and every interpreter, the oldest first."""
    interpreters = [Path(sys.executable), *newer_interpreters().values()]
    combinations = sample()
    count = max(len(combinations), len(interpreters))
    return [
        (combinations[number % len(combinations)], interpreters[number % len(interpreters)])
        for number in range(count)
    ]


@pytest.mark.parametrize(("combination", "interpreter"), installations(), ids=str)
def test_suite_passes_with_its_own_dependencies_alone(
    tmp_path: Path, combination: Combination, interpreter: Path
) -> None:
    project = render(tmp_path / "my-chat", combination)
    python = install(project, interpreter)
    expect_none(failing_tests(project, suite_of(combination), python=python))


def test_newer_interpreters_are_there() -> None:
    if not newer_interpreters():
        pytest.skip(f"no Python newer than {'.'.join(map(str, OWN))} is installed")


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
    assert failing_tests(
        project, ["-m", "engine", "--maxfail=1", "tests/engine/test_realtime.py"], python=python
    )
