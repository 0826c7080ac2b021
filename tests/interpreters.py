"""The Python interpreters of this machine that a generated project supports."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

Version = tuple[int, int]

OWN: Version = sys.version_info[:2]

PROBE = """
import platform, ssl, sqlite3, sys
assert platform.python_implementation() == "CPython" and sys.version_info.releaselevel == "final"
print(*sys.version_info[:2])
"""
"""Code that only a complete and released CPython runs."""


@cache
def newer_interpreters() -> dict[Version, Path]:
    """One interpreter of each minor version after the one that runs the tests."""
    found: dict[Version, Path] = {}
    for path in candidates():
        result = subprocess.run([path, "-c", PROBE], capture_output=True, text=True, check=False)
        if result.returncode == 0:
            major, minor = map(int, result.stdout.split())
            if (major, minor) > OWN:
                found.setdefault((major, minor), path)
    return dict(sorted(found.items()))


def candidates() -> list[Path]:
    """What uv knows of, and what pyenv keeps out of PATH."""
    command = ["uv", "python", "list", "--only-installed", "--output-format=json"]
    listing = subprocess.run(command, capture_output=True, text=True, check=True)
    paths = [Path(entry["path"]) for entry in json.loads(listing.stdout)]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    # The folders of 3.9 sort after those of 3.10; newer than OWN is all that counts.
    paths += sorted(pyenv.glob("versions/3.*/bin/python3"), reverse=True)
    return paths
