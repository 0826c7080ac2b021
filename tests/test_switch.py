"""Another answer turns a project into what a fresh copy with that answer is."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from copier import VcsRef

from tests.gates import expect_none
from tests.matrix import transitions
from tests.owner import differences, hand_over, take_back
from tests.template import (
    DEFAULT,
    Combination,
    Rendered,
    render,
    run_copier,
    update,
)


@pytest.mark.parametrize(("before", "question", "answer"), transitions(), ids=str)
def test_another_answer_gives_a_fresh_project_with_the_owners_edits(
    tmp_path: Path, rendered: Rendered, before: Combination, question: str, answer: str
) -> None:
    project = hand_over(render(tmp_path / "my-chat", before))
    update(project, {question: answer}, VcsRef.CURRENT)
    expect_none(differences(project, rendered(replace(before, **{question: answer}))))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (DEFAULT, replace(DEFAULT, auth="jwt", client="none")),
        (Combination("none", "memory", "none"), Combination("ticket", "redis", "html")),
        (Combination("first_message", "redis", "none"), Combination("none", "memory", "html")),
        (Combination("jwt", "kafka", "html"), Combination("cookie", "postgres", "none")),
        (Combination("none", "nats", "none"), Combination("jwt", "rabbitmq", "html")),
    ],
    ids=str,
)
def test_several_answers_are_switched_at_once(
    tmp_path: Path, rendered: Rendered, before: Combination, after: Combination
) -> None:
    project = hand_over(render(tmp_path / "my-chat", before))
    update(project, asdict(after), VcsRef.CURRENT)
    expect_none(differences(project, rendered(after)))


def test_the_licence_is_switched(tmp_path: Path, rendered: Rendered) -> None:
    project = hand_over(render(tmp_path / "my-chat", answers={"license": "MIT"}))
    for answer in ("Apache-2.0", "MIT"):
        fresh = render(tmp_path / answer / "my-chat", answers={"license": answer})
        update(project, {"license": answer}, VcsRef.CURRENT)
        expect_none(differences(project, fresh))
        take_back(project)
    update(project, {"license": "none"}, VcsRef.CURRENT)
    expect_none(differences(project, rendered(DEFAULT)))


def test_the_name_is_switched(tmp_path: Path) -> None:
    project = hand_over(render(tmp_path / "my-chat"))
    update(project, {"project_name": "our-chat"}, VcsRef.CURRENT)
    expect_none(differences(project, render(tmp_path / "our-chat")))


def test_an_answer_that_is_refused_changes_nothing(tmp_path: Path, rendered: Rendered) -> None:
    project = hand_over(render(tmp_path / "my-chat"))
    with pytest.raises(ValueError, match="Invalid choice for 'broker'"):
        update(project, {"broker": "pigeon"}, VcsRef.CURRENT)
    expect_none(differences(project, rendered(DEFAULT)))


def test_an_edit_that_got_lost_is_found(tmp_path: Path, rendered: Rendered) -> None:
    project = hand_over(render(tmp_path / "my-chat"))
    (project / "app" / "realtime" / "protocol.py").write_text("")
    (project / "app" / "main.py.rej").write_text("")
    (project / "app" / "empty").mkdir()
    assert differences(project, rendered(DEFAULT)) == [
        "app/main.py.rej: unexpected",
        "app/realtime/protocol.py: differs",
        "app/empty: an empty folder",
    ]


@pytest.mark.parametrize(
    ("before", "switch", "sentences"),
    [
        (
            "cookie",
            "auth=ticket",
            ["auth is ticket now: production needs SECRET_KEYS"],
        ),
        (
            "ticket",
            "auth=none",
            ["auth is none now: DATABASE_URL,", "uv run alembic downgrade tickets@base"],
        ),
        ("cookie", "broker=memory", ["broker is memory now", "WEB_CONCURRENCY=1"]),
        ("cookie", "client=none", ["client is none now: / is nothing."]),
    ],
)
def test_what_to_do_next_is_said(
    tmp_path: Path, before: str, switch: str, sentences: list[str]
) -> None:
    project = hand_over(render(tmp_path / "my-chat", replace(DEFAULT, auth=before)))
    result = run_copier(
        "update", "--vcs-ref=:current:", "--defaults", "--data", switch, cwd=project
    )
    assert result.returncode == 0, result.stderr
    for sentence in ("git diff", "uv sync", "uv run pytest", ".env.example", *sentences):
        assert sentence in result.stderr
    switched, _, _ = switch.partition("=")
    for other in {"auth", "broker", "client"} - {switched}:
        assert f"{other} is " not in result.stderr
