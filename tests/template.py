"""The template as it stands in the working tree, and the projects it renders."""

import itertools
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType
from typing import Any

import copier
import jinja2
import yaml
from copier import _template as copier_template
from copier import _vcs as copier_vcs
from copier._main import Worker

ROOT = Path(__file__).parent.parent

SNAPSHOT_VARIABLE = "TEMPLATE_SNAPSHOT"
"""The environment variable that tells pytest's workers where the snapshot is."""

VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
"""The release that the working tree is, or is going to be."""

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


Rendered = Callable[[Combination], Path]
"""What gives a project of a combination to look at: the fixture `rendered`."""

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


def update(
    project: Path,
    answers: Mapping[str, object] | None = None,
    revision: str | copier.VcsRef | None = "HEAD",
    *,
    trusting: bool = False,
) -> None:
    """Update a project in process, without a question, and stop at nothing."""
    copier.run_update(
        project,
        data=dict(answers or {}),
        defaults=True,
        overwrite=True,
        quiet=True,
        unsafe=trusting,
        vcs_ref=revision,
    )


def run_copier(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run copier as people do, with nobody to answer a question."""
    return subprocess.run(
        [Path(sys.executable).with_name("copier"), *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def take_snapshot(destination: Path) -> None:
    """Make the repository that `snapshot` names."""
    copy_working_tree(destination)
    git(destination, "init", "--quiet", "--initial-branch=main")
    commit(destination, f"v{VERSION}")
    git(destination, "gc", "--quiet")


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


def _spare_copier_what_it_does_again() -> None:
    """Make updates three times as quick, which changes nothing of what is rendered.

    Copier clones the template and has Jinja compile each path anew for every render, and
    asks git about every file whether this file system has executable bits.
    """
    clone_anew, compile_anew = copier_vcs.clone, jinja2.Environment.compile
    clones: dict[tuple[str, str], TemporaryDirectory[str]] = {}
    compiled: dict[tuple[object, ...], CodeType] = {}

    def clone(url: str, ref: str = "HEAD", location: str | None = None) -> str:
        if ref == "HEAD" or location is None:
            return clone_anew(url, ref, location)
        key = url, git(Path(url), "rev-parse", f"{ref}^{{commit}}")
        if key not in clones:
            clones[key] = TemporaryDirectory(prefix="clone-")
            clone_anew(url, ref, clones[key].name)
            git(Path(clones[key].name), "gc", "--quiet")  # hundreds of folders less to copy
        shutil.copytree(clones[key].name, location, copy_function=os.link, dirs_exist_ok=True)
        return location

    def compile_(
        self: jinja2.Environment, source: Any, name: Any = None, filename: Any = None, **more: Any
    ) -> Any:
        if more or not isinstance(source, str):
            return compile_anew(self, source, name, filename, **more)
        key = (type(self), self.trim_blocks, self.lstrip_blocks, self.undefined, source, name)
        if key not in compiled:
            compiled[key] = compile_anew(self, source, name, filename)
        return compiled[key]

    def sync(_worker: Worker, _path: Path, _mode: int) -> None:
        """There are such bits wherever these tests run."""

    vars(copier_template)["clone"] = clone
    jinja2.Environment.compile = compile_  # type: ignore[assignment, method-assign]
    Worker._sync_git_index_executable_bit = sync  # type: ignore[assignment, method-assign]


_spare_copier_what_it_does_again()
