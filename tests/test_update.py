"""`copier update` brings a newer template, or another answer, and keeps what the owner wrote."""

from dataclasses import asdict, replace
from pathlib import Path

import copier
import pytest
from copier import VcsRef
from copier.errors import UserMessageError

from tests.gates.files import files_in
from tests.template import (
    COMBINATIONS,
    DEFAULT,
    ROOT,
    Combination,
    commit,
    copy_working_tree,
    git,
    render,
)

OWN_FILE = "app/routes/mine.py"
OWN_LINE = '"""What the owner wrote."""\n'
EDITED = ["app/protocol.py", "pyproject.toml"]
LAST_LINE = "\n# The owner's last line.\n"

JSON = dict[str, object]


def owned_project(destination: Path, template: Path, revision: str, chosen: Combination) -> Path:
    """A project made from a release, then edited by its owner and committed."""
    project = render(destination, chosen, template=template, revision=revision)
    git(project, "init", "--quiet")
    commit(project)
    (project / OWN_FILE).write_text(OWN_LINE)
    for name in EDITED:
        path = project / name
        path.write_text(path.read_text() + LAST_LINE)
    commit(project)
    return project


def update(project: Path, answers: JSON | None = None, revision: str | VcsRef = "HEAD") -> None:
    """Update without trust and without a question, and stop at nothing."""
    copier.run_update(
        project, data=answers, defaults=True, overwrite=True, quiet=True, vcs_ref=revision
    )


def expect_updated(project: Path, template: Path, chosen: Combination, fresh: Path) -> None:
    """The project is what a fresh one would be, with the owner's edits on top."""
    render(fresh, chosen, {"project_name": "my-chat"}, template=template)
    assert files_in(project) - own_files(project) == files_in(fresh)
    for name in sorted(files_in(fresh)):
        rendered, updated = (fresh / name).read_bytes(), (project / name).read_bytes()
        edit = LAST_LINE.encode() if name in EDITED else b""
        assert updated == rendered + edit, name
    assert (project / OWN_FILE).read_text() == OWN_LINE


def own_files(project: Path) -> set[str]:
    return {OWN_FILE} | {name for name in files_in(project) if name.startswith(".git/")}


# --- From an older template ---------------------------------------------------


@pytest.fixture
def two_releases(tmp_path: Path) -> Path:
    """A template whose release v0.0.1 differs from the working tree in every way there is."""
    template = tmp_path / "template"
    git(tmp_path, "init", "--quiet", str(template))
    copy_working_tree(template)
    source = template / "template"
    current = {name: (source / name).read_text() for name in ("app/main.py", "app/presence.py")}
    (source / "app" / "main.py").write_text("# An older line.\n" + current["app/main.py"])
    (source / "app" / "presence.py").unlink()
    (source / "app" / "obsolete.py").write_text('"""Of the older release only."""\n')
    commit(template, "v0.0.1")
    (source / "app" / "obsolete.py").unlink()
    for name, text in current.items():
        (source / name).write_text(text)
    commit(template, "v0.1.0")
    return template


@pytest.mark.parametrize("chosen", [DEFAULT, Combination("none", "memory", "none")], ids=str)
def test_an_edited_project_is_updated_and_keeps_the_edit(
    tmp_path: Path, two_releases: Path, chosen: Combination
) -> None:
    project = owned_project(tmp_path / "my-chat", two_releases, "v0.0.1", chosen)
    assert (project / "app" / "obsolete.py").exists()
    update(project)
    expect_updated(project, two_releases, chosen, tmp_path / "fresh")


@pytest.mark.parametrize("chosen", [DEFAULT, Combination("jwt", "memory", "none")], ids=str)
def test_a_project_of_the_previous_commit_is_updated_to_this_one(
    tmp_path: Path, chosen: Combination
) -> None:
    """The previous commit is HEAD while there are changes that are not committed."""
    changed = git(ROOT, "status", "--porcelain")
    try:
        previous = git(ROOT, "rev-parse", "--verify", "HEAD" if changed else "HEAD~1").strip()
        git(ROOT, "cat-file", "-e", f"{previous}:copier.yml")
    except RuntimeError:
        pytest.skip("there is no previous commit with a template")
    template = tmp_path / "template"
    git(tmp_path, "clone", "--quiet", "--no-tags", str(ROOT), str(template))
    git(template, "reset", "--quiet", "--hard", previous)
    git(template, "tag", "v0.0.1")
    git(template, "rm", "--quiet", "-r", ".")
    copy_working_tree(template)
    commit(template, "v0.1.0")
    project = owned_project(tmp_path / "my-chat", template, "v0.0.1", chosen)
    update(project)
    expect_updated(project, template, chosen, tmp_path / "fresh")


# --- To another answer --------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (DEFAULT, replace(DEFAULT, broker="memory")),
        (replace(DEFAULT, broker="memory"), DEFAULT),
        (DEFAULT, replace(DEFAULT, auth="jwt", client="none")),
        (Combination("none", "memory", "none"), COMBINATIONS[0]),
    ],
    ids=str,
)
def test_another_answer_brings_its_files_and_takes_the_others(
    tmp_path: Path, two_releases: Path, before: Combination, after: Combination
) -> None:
    project = owned_project(tmp_path / "my-chat", two_releases, "v0.1.0", before)
    update(project, dict(asdict(after)), revision=VcsRef.CURRENT)
    expect_updated(project, two_releases, after, tmp_path / "fresh")


def test_a_project_with_changes_that_are_not_committed_is_left_alone(
    tmp_path: Path, two_releases: Path
) -> None:
    project = owned_project(tmp_path / "my-chat", two_releases, "v0.0.1", DEFAULT)
    (project / OWN_FILE).write_text('"""What the owner writes just now."""\n')
    with pytest.raises(UserMessageError, match="dirty"):
        update(project)
    assert (project / "app" / "obsolete.py").exists()


def test_an_edit_that_got_lost_is_found(tmp_path: Path, two_releases: Path) -> None:
    project = owned_project(tmp_path / "my-chat", two_releases, "v0.0.1", DEFAULT)
    (project / "app" / "protocol.py").write_text("")
    with pytest.raises(AssertionError):
        expect_updated(project, two_releases, DEFAULT, tmp_path / "fresh")


def test_an_edit_of_the_very_line_that_changes_leaves_a_conflict_to_see(
    tmp_path: Path, two_releases: Path
) -> None:
    project = owned_project(tmp_path / "my-chat", two_releases, "v0.0.1", DEFAULT)
    path = project / "app" / "main.py"
    path.write_text(path.read_text().replace("# An older line.", "# The owner's own."))
    commit(project)
    update(project)
    assert "<<<<<<< before updating\n# The owner's own.\n" in path.read_text()
    with pytest.raises(AssertionError, match=r"app/main\.py"):
        expect_updated(project, two_releases, DEFAULT, tmp_path / "fresh")
