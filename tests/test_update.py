"""`copier update` brings a newer template and keeps what the owner wrote."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from copier.errors import UserMessageError
from pathspec import GitIgnoreSpec

from tests.gates import expect_none
from tests.gates.files import files_in
from tests.gates.suite import failing_tests
from tests.matrix import IS_FULL, pairs
from tests.owner import (
    LAST_LINE,
    OWN_FILE,
    OWNERS_FILES,
    conflicts,
    differences,
    follow_the_readme,
    hand_over,
)
from tests.releases import combinations_of, take_history
from tests.template import (
    DEFAULT,
    QUESTIONNAIRE,
    Combination,
    Rendered,
    commit,
    copy_working_tree,
    git,
    render,
    run_copier,
    sample,
    update,
)


@pytest.mark.parametrize("chosen", pairs() if IS_FULL else sample(), ids=str)
def test_a_copy_is_the_same_each_time(
    tmp_path: Path, rendered: Rendered, chosen: Combination
) -> None:
    first, second = rendered(chosen), render(tmp_path / "my-chat", chosen)
    assert files_in(first) == files_in(second)
    for name in files_in(first):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
        assert (first / name).stat().st_mode == (second / name).stat().st_mode, name


# --- From the releases there were ---------------------------------------------


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A template and its releases, of which the last is the working tree."""
    template = tmp_path_factory.mktemp("history") / "template"
    return template, take_history(template)


@pytest.mark.parametrize("chosen", pairs() if IS_FULL else sample(), ids=str)
def test_the_previous_release_is_updated_to_this_one(
    tmp_path: Path, history: tuple[Path, list[str]], chosen: Combination
) -> None:
    """Where it did not have an answer yet, the update brings that as well."""
    template, releases = history
    previous = releases[-2]
    known = combinations_of(template, previous)
    before = chosen
    if before not in known:
        before = replace(before, client=DEFAULT.client)
    if before not in known:
        before = replace(before, broker=DEFAULT.broker)
    if before not in known:
        before = replace(before, auth=DEFAULT.auth)
    project = render(tmp_path / "my-chat", before, template=template, revision=previous)
    edited = ["pyproject.toml"]
    hand_over(project, edited)
    update(project, asdict(chosen), None, trusting=True)
    fresh = render(tmp_path / "new" / "my-chat", chosen, template=template)
    expect_none(differences(project, fresh, edited))


@pytest.mark.parametrize("chosen", sample(), ids=str)
def test_every_release_is_updated_to_this_one(
    tmp_path: Path, history: tuple[Path, list[str]], chosen: Combination
) -> None:
    template, releases = history
    fresh = render(tmp_path / "new" / "my-chat", chosen, template=template)
    edited = ["pyproject.toml"]  # which all of them end alike
    for release in releases[:-1]:
        if chosen in combinations_of(template, release):
            folder = tmp_path / release / "my-chat"
            project = render(folder, chosen, template=template, revision=release)
            hand_over(project, edited)
            update(project, None, None, trusting=True)
            expect_none([f"{release}: {it}" for it in differences(project, fresh, edited)])


# --- From a release that differs in every way ---------------------------------


CHANGED = "app/realtime/operations.py"


@pytest.fixture
def two_releases(tmp_path: Path) -> Path:
    """A template whose previous release has another line, a file more and a file less."""
    template = tmp_path / "template"
    git(tmp_path, "init", "--quiet", str(template))
    copy_working_tree(template)
    source = template / "template"
    names = (CHANGED, "app/realtime/history.py")
    current = {name: (source / name).read_text() for name in names}
    (source / CHANGED).write_text("# An older line.\n" + current[CHANGED])
    (source / "app" / "realtime" / "history.py").unlink()
    (source / "app" / "obsolete.py").write_text('"""Of the older release only."""\n')
    commit(template, "v1.0.0")
    (source / "app" / "obsolete.py").unlink()
    for name, text in current.items():
        (source / name).write_text(text)
    commit(template, "v1.0.1")
    return template


def project_of(tmp_path: Path, template: Path, chosen: Combination = DEFAULT) -> Path:
    """A project of the older of `two_releases`, with its owner's edits."""
    folder = tmp_path / "my-chat"
    return hand_over(render(folder, chosen, template=template, revision="v1.0.0"))


@pytest.mark.parametrize("chosen", [DEFAULT, Combination("none", "memory", "none")], ids=str)
def test_an_edited_project_is_updated_and_keeps_the_edit(
    tmp_path: Path, two_releases: Path, chosen: Combination
) -> None:
    project = project_of(tmp_path, two_releases, chosen)
    assert (project / "app" / "obsolete.py").exists()
    update(project)
    fresh = render(tmp_path / "new" / "my-chat", chosen, template=two_releases)
    expect_none(differences(project, fresh))


def test_a_project_with_changes_that_are_not_committed_is_left_alone(
    tmp_path: Path, two_releases: Path
) -> None:
    project = project_of(tmp_path, two_releases)
    (project / OWN_FILE).write_text('"""What the owner writes just now."""\n')
    with pytest.raises(UserMessageError, match="dirty"):
        update(project)
    assert (project / "app" / "obsolete.py").exists()


def test_an_edit_of_the_very_line_that_changes_leaves_a_conflict_to_see(
    tmp_path: Path, two_releases: Path
) -> None:
    project = project_of(tmp_path, two_releases)
    path = project / CHANGED
    path.write_text(path.read_text().replace("# An older line.", "# The owner's own."))
    commit(project)
    result = run_copier("update", "--defaults", cwd=project)
    assert result.returncode == 0, result.stderr
    assert "<<<<<<< before updating\n# The owner's own.\n" in path.read_text()
    assert conflicts(project) == [CHANGED]
    assert f"UU {CHANGED}\n" in git(project, "status", "--porcelain")
    fresh = render(tmp_path / "new" / "my-chat", template=two_releases)
    assert differences(project, fresh) == [f"{CHANGED}: differs", f"{CHANGED}: git"]


# --- What is the owner's ------------------------------------------------------


def test_the_files_of_the_owner_are_those_that_the_questionnaire_names(rendered: Rendered) -> None:
    patterns = GitIgnoreSpec.from_lines(QUESTIONNAIRE["_skip_if_exists"])
    assert {*patterns.match_files(files_in(rendered(DEFAULT)))} == {*OWNERS_FILES}


def test_an_update_and_a_switch_leave_every_file_of_the_owner_untouched(tmp_path: Path) -> None:
    template = tmp_path / "template"
    git(tmp_path, "init", "--quiet", str(template))
    copy_working_tree(template)
    commit(template, "v1.0.0")
    for name in [*OWNERS_FILES, "app/realtime/operations.py", "tests/engine/test_realtime.py"]:
        path = template / "template" / name
        path.write_text("# A later release.\n" + path.read_text())
    commit(template, "v1.0.1")
    project = render(tmp_path / "my-chat", template=template, revision="v1.0.0")
    hand_over(project, OWNERS_FILES)
    before = {name: (project / name).read_bytes() for name in OWNERS_FILES}
    assert all(text.endswith(LAST_LINE.encode()) for text in before.values())

    update(project)
    assert conflicts(project) == []
    assert {name: (project / name).read_bytes() for name in OWNERS_FILES} == before
    for name in ("app/realtime/operations.py", "tests/engine/test_realtime.py"):
        assert (project / name).read_text().startswith("# A later release.\n")
    commit(project)
    for answer in (
        *({"broker": "memory"}, {"auth": "jwt"}, {"client": "none"}, {"auth": "none"}),
        *({"broker": "redis", "auth": "ticket", "client": "html"}, {"license": "MIT"}),
        {"project_name": "our-chat", "description": "It is ours.", "author": "Ada"},
    ):
        update(project, answer)
        assert conflicts(project) == []
        assert {name: (project / name).read_bytes() for name in OWNERS_FILES} == before
        commit(project)
    expect_none(failing_tests(project))


def test_an_application_of_ones_own_works_after_an_update_and_a_switch(
    tmp_path: Path, two_releases: Path
) -> None:
    project = project_of(tmp_path, two_releases)
    own = follow_the_readme(project)
    commit(project)
    before = {name: (project / name).read_bytes() for name in own}
    update(project)
    commit(project)
    update(project, {"broker": "memory"})
    assert conflicts(project) == []
    assert not {"app/routes/echo.py", "tests/test_chat.py"} & files_in(project)
    assert {name: (project / name).read_bytes() for name in own} == before
    expect_none(failing_tests(project))


RULE = "app/permissions.py"


@pytest.fixture
def new_rule(tmp_path: Path) -> Path:
    """A template whose last release has another `app/permissions.py` and a changelog."""
    template = tmp_path / "template"
    git(tmp_path, "init", "--quiet", str(template))
    copy_working_tree(template)
    commit(template, "v1.0.0")
    path = template / "template" / RULE
    path.write_text(path.read_text().replace("return True", "return bool(room)"))
    for name in ("CHANGELOG.md", "uv.lock"):
        (template / "template" / name).write_text("The template's.\n")
    commit(template, "v1.0.1")
    return template


def test_the_owners_starter_survives_an_update_that_changes_it(
    tmp_path: Path, new_rule: Path
) -> None:
    project = project_of(tmp_path, new_rule)
    path = project / RULE
    path.write_text(path.read_text().replace("return True", 'return room != "attic"'))
    for name in ("CHANGELOG.md", "uv.lock"):
        (project / name).write_text("The owner's.\n")
    commit(project)
    before = path.read_text()
    update(project)
    assert path.read_text() == before
    for name in ("CHANGELOG.md", "uv.lock"):
        assert (project / name).read_text() == "The owner's.\n"
    assert conflicts(project) == []


def test_a_starter_that_was_never_edited_stays_as_well(tmp_path: Path, new_rule: Path) -> None:
    """Whether it was edited is not asked: the file is the owner's."""
    project = project_of(tmp_path, new_rule)
    before = (project / RULE).read_text()
    update(project)
    assert (project / RULE).read_text() == before


def test_a_file_that_the_owner_removed_stays_away_and_a_starter_returns(
    tmp_path: Path, new_rule: Path
) -> None:
    """The application imports its starters, so it could not do without."""
    project = project_of(tmp_path, new_rule)
    examples = ["app/routes/echo.py", "tests/test_chat.py"]
    removed = [".github/workflows/update.yml", "tests/engine/test_slow_client.py", *examples]
    for name in [*removed, RULE]:
        (project / name).unlink()
    commit(project)
    update(project)
    assert not [name for name in removed if (project / name).exists()]
    assert (project / RULE).exists()
