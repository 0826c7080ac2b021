"""A rendered project passes its own formatter, linter and type checker."""

import fcntl
import subprocess
import sys
from pathlib import Path

from tests.template import ROOT


def unformatted(project: Path) -> list[str]:
    """What `ruff format` would change: it would be a conflict in a later update."""
    return run(project, "ruff", "format", "--check", "--no-cache", "--quiet")


def lint_errors(project: Path) -> list[str]:
    return run(project, "ruff", "check", "--no-cache", "--output-format=concise", "--quiet")


def type_errors(project: Path) -> list[str]:
    """What strict `mypy` says. Projects share what it learnt of their libraries."""
    cache = ROOT / ".cache" / "mypy"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the cache is for one process at a time
        for path in project.rglob("*.py"):
            path.touch()  # mypy takes another file of the same size and second for the same
        return run(project, "mypy", f"--cache-dir={cache}", "--no-error-summary")


def run(project: Path, tool: str, *arguments: str) -> list[str]:
    """The lines that a tool prints when it is not content."""
    result = subprocess.run(
        [sys.executable, "-m", tool, *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode == 0:
        return []
    return [*result.stdout.splitlines(), *result.stderr.splitlines()] or [f"{tool} failed"]
