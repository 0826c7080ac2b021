"""Releases to update from: this repository's own, and three points of its early history.

The three stand for the time before v0.2.0, which has no tags. All of them are in a clone,
in which the working tree is the newest release.
"""

from pathlib import Path

import pytest
import yaml
from packaging.version import Version

from tests.template import COMBINATIONS, ROOT, VERSION, Combination, commit, copy_working_tree, git

EARLY = {
    "v0.0.1": "6067a2207573909ea50f18357cc3e19df759636d",
    "v0.0.2": "d64b2b32186e389c9ea1b716cd1161575a2f482d",
    "v0.1.0": "a133672eded1f57bfeb72d6b140d1ddd01a1f77b",
}
"""Commits of this repository, the last of them from just before the first migration."""


def take_history(destination: Path) -> list[str]:
    """Make a template that has every release. The answer is their tags, the oldest first.

    Skips the test in a clone whose history does not reach back.
    """
    git(destination.parent, "clone", "--quiet", str(ROOT), str(destination))
    for tag in git(destination, "tag").split():
        if tag in EARLY or not tag.startswith("v") or Version(tag) >= Version(VERSION):
            git(destination, "tag", "--delete", tag)
    try:
        for tag, revision in EARLY.items():
            git(destination, "tag", tag, revision)
    except RuntimeError:
        pytest.skip("the history of this clone does not reach back to before v0.2.0")
    git(destination, "rm", "--quiet", "-r", ".")
    copy_working_tree(destination)
    commit(destination, f"v{VERSION}")
    return sorted(git(destination, "tag").split(), key=Version)


def combinations_of(template: Path, release: str) -> list[Combination]:
    """Those combinations of today that a release had too."""
    questions = yaml.safe_load(git(template, "show", f"{release}:copier.yml"))
    known = {name: questions[name]["choices"].values() for name in ("auth", "broker", "client")}
    return [
        it
        for it in COMBINATIONS
        if it.auth in known["auth"]
        and it.broker in known["broker"]
        and it.client in known["client"]
    ]
