"""Pages that are built from TypeScript, as their owner would build them.

What was made is kept in .cache/: the packages of a lock file, and the page of a source. So it is
made once, however many tests, workers and runs need it.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.node import npm
from tests.template import ROOT

CACHE = ROOT / ".cache" / "web"

MADE = {"node_modules", "dist", ".angular"}
"""Folders that are not the source of a page."""


def build(project: Path) -> None:
    """Build the page of a project, if it has one that must be built."""
    web = project / "web"
    if not (web / "package.json").exists():
        return
    page = made_once("page", web, sources(web), lambda into: build_page(web, into))
    shutil.copytree(page, web / "dist")


def build_page(web: Path, into: Path) -> None:
    """Build a page, and copy the result."""
    install(web)
    npm("run", "build", cwd=web)
    shutil.copytree(web / "dist", into, dirs_exist_ok=True)
    shutil.rmtree(web / "dist")


def install(web: Path) -> None:
    """Give a page its packages, as `npm ci` would."""
    files = [web / "package.json", web / "package-lock.json"]

    def install_into(folder: Path) -> None:
        for file in files:
            shutil.copy(file, folder)
        npm("ci", cwd=folder)

    packages = made_once("packages", web, files, install_into)
    (web / "node_modules").symlink_to(packages / "node_modules")


def sources(web: Path) -> Iterator[Path]:
    """The files that a page is built from."""
    for folder, folders, names in os.walk(web):
        folders[:] = sorted(set(folders) - MADE)
        yield from (Path(folder, name) for name in sorted(names))


def made_once(kind: str, web: Path, files: Iterable[Path], make: Callable[[Path], None]) -> Path:
    """The folder that `make` fills from files of `web`. Whoever finds it there takes it."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(web)}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    target = CACHE / kind / digest.hexdigest()[:32]
    with locked(target.with_suffix(".lock")):
        if not target.exists():
            unfinished = target.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(target)
    return target


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep the other workers of pytest from making the same thing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
