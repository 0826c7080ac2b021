"""A rendered project passes its own formatter, linter and type checker."""

import os
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
    # Projects share what is known of their libraries; each process of the tests has its own.
    cache = ROOT / ".cache" / "mypy" / os.environ.get("PYTEST_XDIST_WORKER", "main")
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
