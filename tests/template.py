"""The template as it stands in the working tree, and the projects it renders."""

import itertools
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import copier
import yaml

ROOT = Path(__file__).parent.parent

SNAPSHOT_VARIABLE = "TEMPLATE_SNAPSHOT"
"""The environment variable that tells pytest's workers where the snapshot is."""

QUESTIONNAIRE: dict[str, Any] = yaml.safe_load((ROOT / "copier.yml").read_text())


def choices(question: str) -> tuple[str, ...]:
    return tuple(QUESTIONNAIRE[question]["choices"].values())


@dataclass(frozen=True)
class Combination:
    """One answer to each question that decides what code a project has."""

    auth: str
    broker: str
    client: str

    def __str__(self) -> str:
        return f"{self.auth}-{self.broker}-{self.client}"


COMBINATIONS = tuple(
    Combination(*answers)
    for answers in itertools.product(choices("auth"), choices("broker"), choices("client"))
)

DEFAULT = Combination(*(QUESTIONNAIRE[name]["default"] for name in ("auth", "broker", "client")))


def sample() -> tuple[Combination, ...]:
    """Few combinations in which every option of every question occurs."""
    axes = [choices("auth"), choices("broker"), choices("client")]
    count = max(len(axis) for axis in axes)
    return tuple(
        Combination(*(axis[number % len(axis)] for axis in axes)) for number in range(count)
    )


def render(
    destination: Path,
    combination: Combination = DEFAULT,
    answers: Mapping[str, object] | None = None,
    *,
    template: Path | None = None,
    revision: str = "HEAD",
) -> Path:
    """Render a project in process, without trust and without a question.

    `answers` add to those of the combination, or replace them. Raises ValueError
    for one that is refused.
    """
    copier.run_copy(
        str(template or snapshot()),
        destination,
        data=asdict(combination) | dict(answers or {}),
        defaults=True,
        quiet=True,
        vcs_ref=revision,
    )
    return destination


def snapshot() -> Path:
    """A repository with one commit: the working tree, as one would commit it now."""
    return Path(os.environ[SNAPSHOT_VARIABLE])


def take_snapshot(destination: Path) -> None:
    """Make the repository that `snapshot` names."""
    copy_working_tree(destination)
    git(destination, "init", "--quiet", "--initial-branch=main")
    commit(destination, "v0.1.0")


def copy_working_tree(destination: Path) -> None:
    """Copy what git tracks and what it would add."""
    listing = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listing.split("\0")):
        source = ROOT / name
        if source.is_file():  # else it was removed and that is not committed yet
            target = destination / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def commit(repository: Path, tag: str | None = None) -> None:
    """Commit everything that is in the folder, and tag it."""
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--allow-empty", "--message=A change")
    if tag is not None:
        git(repository, "tag", tag)


def git(repository: Path, *arguments: str) -> str:
    """Run git, whatever the settings of the person who runs the tests."""
    options = ["user.name=Tests", "user.email=tests@localhost", "commit.gpgsign=false"]
    command = ["git", *(part for option in options for part in ("-c", option)), *arguments]
    result = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"git {' '.join(arguments)}: {result.stderr}")
    return result.stdout
