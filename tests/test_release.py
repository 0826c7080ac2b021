"""`make release` tags what agrees in every place, and says what does not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.release import of_changelog, problems
from tests.template import ROOT, commit, git

CHANGELOG = "# Changelog\n\n## 0.2.0 (2026-01-31)\n\n- New.\n\n## 0.1.0 (2026-01-01)\n\n- All.\n"
MIGRATIONS = "_migrations:\n  - version: v0.2.0\n    command: x\n"
FILES = {
    "CHANGELOG.md": CHANGELOG,
    "pyproject.toml": '[project]\nname = "it"\nversion = "0.2.0"\n',
    "uv.lock": '[[package]]\nname = "it"\nversion = "0.2.0"\n',
    "copier.yml": MIGRATIONS,
    "hooks/v0_2_0.py": "",
    "tests/test_migrations.py": 'SCRIPT = "hooks/v0_2_0.py"\n',
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One that has released 0.1.0 and is ready to release 0.2.0."""
    root = tmp_path / "repository"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    shutil.copytree(ROOT / "scripts", root / "scripts", ignore=shutil.ignore_patterns("__*__"))
    (root / ".gitignore").write_text("__pycache__/\n")
    git(root, "init", "--quiet", "--initial-branch=main")
    commit(root, "v0.1.0")
    return root


def release(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    for name in ("user.name", "user.email"):
        git(repository, "config", name, "tests@localhost")
    return subprocess.run(
        [sys.executable, "-m", "scripts.release", *arguments],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_agrees_is_tagged(repository: Path) -> None:
    result = release(repository, "0.2.0")
    assert result.returncode == 0, result.stderr
    assert git(repository, "tag", "--points-at", "HEAD").split() == ["v0.1.0", "v0.2.0"]
    assert "git push origin main v0.2.0" in result.stdout
    assert git(repository, "cat-file", "-t", "v0.2.0").strip() == "tag"


def test_every_reason_not_to_is_given_and_nothing_is_tagged(repository: Path) -> None:
    (repository / "CHANGELOG.md").write_text(CHANGELOG.replace("2026-01-31", "unreleased"))
    (repository / "pyproject.toml").write_text('[project]\nname = "it"\nversion = "0.1.0"\n')
    result = release(repository, "0.2.0")
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "0.2.0 is not tagged:",
        "- There are changes that are not committed.",
        "- pyproject.toml says 0.1.0.",
        '- CHANGELOG.md must have a date after 0.2.0, as in "## 0.2.0 (2026-01-31)".',
    ]
    assert git(repository, "tag").split() == ["v0.1.0"]


@pytest.mark.parametrize(
    "arguments", [[], [""], ["v0.2.0"], ["0.2"], ["0.2.0", "0.3.0"], ["0.02.0"]]
)
def test_a_release_needs_a_version(repository: Path, arguments: list[str]) -> None:
    result = release(repository, *arguments)
    assert result.returncode == 1
    assert result.stderr == "Say which release it is: make release VERSION=0.2.0\n"


@pytest.mark.parametrize("version", ["0.1.0", "0.0.9"])
def test_a_release_is_newer_than_the_last(repository: Path, version: str) -> None:
    assert "The last release is 0.1.0: the next one must have a higher number." in problems(
        repository, version
    )


def test_versions_are_compared_as_numbers(repository: Path) -> None:
    git(repository, "tag", "v0.10.0")
    assert "The last release is 0.10.0: the next one must have a higher number." in problems(
        repository, "0.9.0"
    )


def test_a_release_is_tagged_on_main(repository: Path) -> None:
    git(repository, "switch", "--quiet", "--create", "feature")
    assert list(problems(repository, "0.2.0")) == [
        "Releases are tagged on main, and this is feature."
    ]


@pytest.mark.parametrize(
    ("changelog", "problem"),
    [
        ("# Changelog\n", "The first section of CHANGELOG.md must be 0.2.0, and is nothing."),
        (
            f"## 0.3.0 (unreleased)\n\n- More.\n\n{CHANGELOG}",
            "The first section of CHANGELOG.md must be 0.2.0, and is 0.3.0.",
        ),
        (
            CHANGELOG.replace("2026-01-31", "9999-01-31"),
            "CHANGELOG.md says that 0.2.0 is of 9999-01-31, which is still to come.",
        ),
        (CHANGELOG.replace("- New.", ""), "CHANGELOG.md says nothing about 0.2.0."),
    ],
)
def test_the_changelog_has_a_section_with_a_date(changelog: str, problem: str) -> None:
    assert list(of_changelog(changelog, "0.2.0")) == [problem]


def test_a_migration_has_its_release_its_script_and_its_test(repository: Path) -> None:
    (repository / "copier.yml").write_text(MIGRATIONS.replace("v0.2.0", "v0.3.0"))
    (repository / "tests" / "test_migrations.py").write_text("")
    commit(repository)
    assert list(problems(repository, "0.2.0")) == [
        "copier.yml has a migration of v0.3.0, which is no release.",
        "The migration of v0.3.0 has no hooks/v0_3_0.py.",
        "hooks/v0_2_0.py is not declared in copier.yml.",
        "hooks/v0_2_0.py has no test: none of tests/test_*.py names v0_2_0.",
    ]


def test_the_lock_says_the_same(repository: Path) -> None:
    (repository / "uv.lock").write_text('[[package]]\nname = "it"\nversion = "0.1.0"\n')
    commit(repository)
    assert list(problems(repository, "0.2.0")) == ["uv.lock says 0.1.0."]


def test_this_repository_is_one_that_can_be_released() -> None:
    """Its files have the form that `make release` reads."""
    found = [*problems(ROOT, "999.0.0")]
    assert "pyproject.toml says" in " ".join(found)
    assert not [problem for problem in found if "hooks/" in problem]
