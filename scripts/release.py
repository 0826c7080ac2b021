"""`make release VERSION=x.y.z`: tag the release, if everything agrees that it is one."""

import datetime
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
NAME = "copier-fastapi-websocket"
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
HEADING = re.compile(r"^## (?P<version>\S+) \((?P<date>[^)]*)\)$", re.MULTILINE)


def main() -> None:
    """Tag the release, or say what is wrong and end with 1."""
    if len(sys.argv) != 2 or not VERSION.fullmatch(sys.argv[1]):
        sys.exit("Say which release it is: make release VERSION=0.2.0")
    version = sys.argv[1]
    found = list(problems(ROOT, version))
    if found:
        sys.exit("\n".join([f"{version} is not tagged:", *(f"- {problem}" for problem in found)]))
    git(ROOT, "tag", "--annotate", f"--message={NAME} {version}", f"v{version}")
    print(f"Tagged v{version}. It is out with: git push origin main v{version}")


def problems(root: Path, version: str) -> Iterator[str]:
    """What speaks against a release, a sentence each."""
    yield from of_git(root, version)
    yield from of_metadata(root, version)
    yield from of_changelog((root / "CHANGELOG.md").read_text(), version)
    yield from of_migrations(root, version)


def of_git(root: Path, version: str) -> Iterator[str]:
    branch = git(root, "branch", "--show-current").strip()
    if branch != "main":
        yield f"Releases are tagged on main, and this is {branch or 'no branch'}."
    if git(root, "status", "--porcelain"):
        yield "There are changes that are not committed."
    released = releases(root)
    if released and numbers(version) <= numbers(released[-1]):
        yield f"The last release is {released[-1]}: the next one must have a higher number."


def of_metadata(root: Path, version: str) -> Iterator[str]:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    locked = tomllib.loads((root / "uv.lock").read_text())["package"]
    versions = {
        "pyproject.toml": project["version"],
        "uv.lock": next(it["version"] for it in locked if it["name"] == project["name"]),
    }
    for name, found in versions.items():
        if found != version:
            yield f"{name} says {found}."


def of_changelog(changelog: str, version: str) -> Iterator[str]:
    newest = HEADING.search(changelog)
    if newest is None or newest["version"] != version:
        found = "nothing" if newest is None else newest["version"]
        yield f"The first section of CHANGELOG.md must be {version}, and is {found}."
        return
    try:
        date = datetime.date.fromisoformat(newest["date"])
    except ValueError:
        yield f'CHANGELOG.md must have a date after {version}, as in "## {version} (2026-01-31)".'
    else:
        if date > datetime.datetime.now(datetime.UTC).date():
            yield f"CHANGELOG.md says that {version} is of {date}, which is still to come."
    if not changelog[newest.end() :].partition("\n## ")[0].strip():
        yield f"CHANGELOG.md says nothing about {version}."


def of_migrations(root: Path, version: str) -> Iterator[str]:
    questionnaire: dict[str, Any] = yaml.safe_load((root / "copier.yml").read_text())
    declared = {str(entry["version"]) for entry in questionnaire.get("_migrations", [])}
    scripts = {path.stem.replace("_", "."): path for path in (root / "hooks").glob("*.py")}
    tests = "".join(path.read_text() for path in sorted((root / "tests").glob("test_*.py")))
    known = {f"v{it}" for it in [*releases(root), version]}
    for migration in sorted(declared):
        if migration not in known:
            yield f"copier.yml has a migration of {migration}, which is no release."
        if migration not in scripts:
            yield f"The migration of {migration} has no hooks/{migration.replace('.', '_')}.py."
    for migration, path in sorted(scripts.items()):
        if migration not in declared:
            yield f"hooks/{path.name} is not declared in copier.yml."
        if path.stem not in tests:
            yield f"hooks/{path.name} has no test: none of tests/test_*.py names {path.stem}."


def releases(root: Path) -> list[str]:
    """The versions that are tagged, the oldest first."""
    tags = (tag.removeprefix("v") for tag in git(root, "tag", "--list", "v*").split())
    return sorted((tag for tag in tags if VERSION.fullmatch(tag)), key=numbers)


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def git(root: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
