"""The soak itself: its checker sees every planted fault, and a short run passes."""

import os
import re
import subprocess
import sys
from array import array
from pathlib import Path

import pytest

from scripts.soak import rules
from scripts.soak.checker import LOSS, check
from scripts.soak.faults import DESCRIPTIONS, plan
from scripts.soak.history import (
    NOBODY,
    Acknowledged,
    Connected,
    Disconnected,
    Fault,
    Join,
    Joined,
    Left,
    Messages,
    Operation,
    Page,
    Problem,
    Publish,
    Quiet,
    Refused,
    Resync,
    read,
    write,
)
from scripts.soak.memory import MEGABYTE, Series
from scripts.soak.plot import MARKS, draw
from scripts.soak.rules import Promises, Verdict
from tests.template import ROOT, SNAPSHOT_VARIABLE

ALICE, BOB = 1, 2
ROOM = "r"
FIRST, SECOND = "e1", "e2"
"""Epochs."""


def joined(
    at: float,
    client: int,
    offset: int,
    since: int | None = None,
    *,
    epoch: str = FIRST,
    since_epoch: str = FIRST,
    recovered: bool = True,
) -> list[Operation]:
    """A join and its answer."""
    named = since_epoch if since is not None else None
    return [
        Join(at - 0.1, client, ROOM, named, since or 0),
        Joined(at, client, ROOM, epoch, offset, recovered and since is not None),
    ]


def received(at: float, client: int, *messages: tuple[int, int]) -> list[Operation]:
    """Messages: offset and id of each."""
    offsets, ids = zip(*messages, strict=True)
    return [Messages(at, client, ROOM, array("q", offsets), array("q", ids))]


def published(at: float, number: int, offset: int | None, client: int = ALICE) -> list[Operation]:
    """A publish, and its acknowledgement if it has an offset."""
    sent: list[Operation] = [Publish(at, client, ROOM, number, 0)]
    if offset is not None:
        sent.append(Acknowledged(at + 0.1, client, ROOM, number, FIRST, offset))
    return sent


def connected(*clients: int) -> list[Operation]:
    return [Connected(0, client, 0) for client in clients]


def quiet(*clients: int) -> list[Operation]:
    return [Quiet(100, client) for client in clients]


def three_messages() -> list[Operation]:
    """Alice publishes 11, 12 and 13 at the offsets 10, 20 and 30, and receives them."""
    return [
        *joined(1, ALICE, 5),
        *(it for number in (1, 2, 3) for it in published(number + 1, 10 + number, 10 * number)),
        *received(2, ALICE, (10, 11), (20, 12), (30, 13)),
    ]


def bobs(*messages: tuple[int, int], more: list[Operation] | None = None) -> list[Operation]:
    """A history in which Bob listens to Alice's three messages, and receives these."""
    bob = [*joined(1, BOB, 5), *received(2, BOB, *messages), *(more or [])]
    return [*connected(ALICE, BOB), *three_messages(), *bob, *quiet(ALICE, BOB)]


GOOD: dict[str, list[Operation]] = {
    "live": bobs((10, 11), (20, 12), (30, 13)),
    "returned, with all that was missed": bobs(
        (10, 11),
        more=[
            Disconnected(3, BOB),
            Connected(4, BOB, 1),
            *joined(4.5, BOB, 20, since=10),
            *received(5, BOB, (20, 12), (30, 13)),
        ],
    ),
    "interrupted while it received what was missed": bobs(
        (10, 11),
        more=[
            *(Disconnected(3, BOB), Connected(4, BOB, 1), *joined(4.5, BOB, 30, since=10)),
            *(Disconnected(5, BOB), Connected(6, BOB, 2), *joined(6.5, BOB, 30, since=10)),
            *received(7, BOB, (20, 12), (30, 13)),
        ],
    ),
    "left": bobs((10, 11), more=[Left(3, BOB, ROOM)]),
    "joined later, with what was recent": [
        *connected(ALICE, BOB),
        *three_messages(),
        *joined(9, BOB, 30),
        *received(9, BOB, (20, 12), (30, 13)),
        *quiet(ALICE, BOB),
    ],
    "Redis lost its data": [
        Fault(5, NOBODY, LOSS, 1),
        *connected(ALICE, BOB),
        *three_messages(),
        *joined(1, BOB, 5),
        *received(2, BOB, (10, 11)),
        Resync(6, BOB, ROOM, SECOND, 40),
        Resync(6, ALICE, ROOM, SECOND, 40),
        *published(7, 14, None),
        *received(7, BOB, (50, 14)),
        *received(7, ALICE, (50, 14)),
        Acknowledged(7.1, ALICE, ROOM, 14, SECOND, 50),
        *quiet(ALICE, BOB),
    ],
    "away for longer than history lasts": bobs(
        (10, 11),
        more=[
            Disconnected(3, BOB),
            Connected(99, BOB, 1),
            *joined(99, BOB, 30, since=10, recovered=False),
        ],
    ),
    "an unanswered publish on a connection that broke": [
        *connected(ALICE),
        *joined(1, ALICE, 5),
        *published(2, 11, None),
        Disconnected(3, ALICE),
        Connected(4, ALICE, 1),
        *joined(5, ALICE, 5, since=5),
        *quiet(ALICE),
    ],
}

BAD: dict[str, tuple[str, list[Operation]]] = {
    "a message is lost": (rules.COMPLETE, bobs((10, 11), (30, 13))),
    "the last message is lost": (rules.COMPLETE, bobs((10, 11), (20, 12))),
    "the first message after joining is lost": (rules.COMPLETE, bobs((20, 12), (30, 13))),
    "a message is lost while away": (
        rules.COMPLETE,
        bobs(
            (10, 11),
            more=[
                *(Disconnected(3, BOB), Connected(4, BOB, 1), *joined(4.5, BOB, 20, since=10)),
                *received(5, BOB, (30, 13)),
            ],
        ),
    ),
    "a message comes twice": (rules.ONCE, bobs((10, 11), (20, 12), (20, 12), (30, 13))),
    "a message comes again after a return": (
        rules.ONCE,
        bobs(
            (10, 11),
            more=[
                *(Disconnected(3, BOB), Connected(4, BOB, 1), *joined(4.5, BOB, 20, since=10)),
                *received(5, BOB, (10, 11), (20, 12), (30, 13)),
            ],
        ),
    ),
    "two messages change places": (rules.ORDER, bobs((10, 11), (30, 13), (20, 12))),
    "another message at the same offset": (
        rules.SAME,
        [*published(3, 99, None), *bobs((10, 11), (20, 99), (30, 13))],
    ),
    "a message at two offsets": (
        rules.ONE_PLACE,
        bobs((10, 11), (20, 12), (30, 13), more=received(5, BOB, (40, 12))),
    ),
    "a message of nobody": (
        rules.PUBLISHED,
        bobs((10, 11), (20, 12), (30, 13), more=received(5, BOB, (40, 66))),
    ),
    "a message of another room": (
        rules.PUBLISHED,
        [
            *bobs((10, 11), (20, 12), (30, 13)),
            Publish(3, ALICE, "other", 77, 0),
            *joined(5, BOB, 30, since=30),
            *received(5, BOB, (40, 77)),
        ],
    ),
    "told to resync for no reason": (
        rules.TOLD,
        bobs((10, 11), more=[Resync(5, BOB, ROOM, FIRST, 30)]),
    ),
    "not recovered for no reason": (
        rules.TOLD,
        bobs(
            (10, 11),
            more=[
                Disconnected(3, BOB),
                Connected(4, BOB, 1),
                *joined(4.5, BOB, 30, since=10, recovered=False),
            ],
        ),
    ),
    "a new epoch without a loss of data": (
        rules.EPOCHS,
        bobs((10, 11), more=[Resync(5, BOB, ROOM, SECOND, 40)]),
    ),
    "an epoch comes back": (
        rules.EPOCHS,
        [
            Fault(4, NOBODY, LOSS, 1),
            *bobs(
                (10, 11),
                more=[
                    Resync(5, BOB, ROOM, SECOND, 40),
                    *joined(6, BOB, 40, since=40, epoch=FIRST, since_epoch=SECOND, recovered=False),
                ],
            ),
        ],
    ),
    "recovered from another epoch": (
        rules.ONE_EPOCH,
        [
            Fault(4, NOBODY, LOSS, 1),
            *bobs((10, 11), more=joined(6, BOB, 40, since=10, epoch=SECOND)),
        ],
    ),
    "a publisher's messages change places": (
        rules.SENDERS_ORDER,
        [
            *connected(ALICE),
            *joined(1, ALICE, 5),
            *published(2, 11, 20),
            *published(2.05, 12, 10),
            *received(2.1, ALICE, (10, 12), (20, 11)),
            *quiet(ALICE),
        ],
    ),
    "a message comes before one that was acknowledged earlier": (
        rules.REAL_TIME,
        [
            *connected(ALICE, BOB),
            *joined(1, ALICE, 5),
            *joined(1, BOB, 5),
            *published(2, 11, 20),
            *published(3, 12, 10, BOB),
            *received(4, ALICE, (10, 12), (20, 11)),
            *received(4, BOB, (10, 12), (20, 11)),
            *quiet(ALICE, BOB),
        ],
    ),
    "an acknowledged message is not in the history": (
        rules.REMEMBERED,
        [
            *bobs((10, 11), (20, 12), (30, 13))[:-2],
            Page(1, BOB, ROOM, FIRST, complete=True),
            *(Quiet(4, ALICE), Quiet(4, BOB)),
            Page(
                5, BOB, ROOM, FIRST, complete=True, offsets=array("q", [10]), ids=array("q", [11])
            ),
        ],
    ),
    "a publish without an answer": (
        rules.ANSWERED,
        [*connected(ALICE), *joined(1, ALICE, 5), *published(2, 11, None), *quiet(ALICE)],
    ),
    "a message outside of the room": (
        rules.MEMBERS,
        bobs((10, 11), more=[Left(5, BOB, ROOM), *received(6, BOB, (20, 12))]),
    ),
    "an answer without a question": (
        rules.QUESTION,
        bobs((10, 11), (20, 12), (30, 13), more=[Joined(5, BOB, ROOM, FIRST, 30, recovered=False)]),
    ),
    "a client that does not return": (
        rules.RETURNED,
        [*bobs((10, 11), (20, 12), (30, 13))[:-1], Disconnected(100, BOB)],
    ),
    "an unexpected answer": (
        rules.EXPECTED,
        [*bobs((10, 11), (20, 12), (30, 13)), Problem(5, BOB, "what is this?")],
    ),
    "an unexpected error": (
        rules.EXPECTED,
        [*bobs((10, 11), (20, 12), (30, 13)), Refused(5, ALICE, 12, "not_joined")],
    ),
}


def checked(operations: list[Operation]) -> Verdict:
    return check(operations, Promises(history_seconds=50))


@pytest.mark.parametrize("case", GOOD)
def test_a_good_history_passes(case: str) -> None:
    assert checked(GOOD[case]).broken == {}


@pytest.mark.parametrize("case", BAD)
def test_the_checker_sees_that(case: str) -> None:
    rule, operations = BAD[case]
    assert rule in checked(operations).broken


def test_every_rule_is_broken_by_a_case() -> None:
    assert {rule for rule, _ in BAD.values()} == set(rules.RULES)


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    operations = [operation for case in GOOD.values() for operation in case]
    write(tmp_path / "history.jsonl", operations)
    assert list(read(tmp_path / "history.jsonl")) == operations


def test_the_same_seed_plans_the_same_faults() -> None:
    assert plan(1, 600, 20) == plan(1, 600, 20) != plan(2, 600, 20)
    assert {planned.kind for planned in plan(1, 600, 20)} == set(DESCRIPTIONS) == set(MARKS)


def series(sizes: list[int]) -> Series:
    return Series("app", [2.0 * number for number in range(len(sizes))], sizes)


def test_a_leak_is_no_flat_memory() -> None:
    steady = [(100 + number % 5) * MEGABYTE for number in range(300)]
    replaced = [*steady[:200], *([50 * MEGABYTE] * 5), *steady[205:]]
    leaking = [size + number * MEGABYTE // 10 for number, size in enumerate(steady)]
    assert series(steady).is_flat
    assert series(replaced).is_flat
    assert not series(leaking).is_flat


def test_the_plot_shows_memory_and_faults() -> None:
    svg = draw([series([MEGABYTE, 2 * MEGABYTE])], [Fault(1, NOBODY, "worker-kill", 0)], "Memory")
    assert re.search(r'<polyline class="app" points="[\d.]+,[\d.]+ [\d.]+,[\d.]+"/>', svg)
    assert ">W<" in svg


def test_a_short_soak_passes(tmp_path: Path) -> None:
    """Three hundred sockets, and a few faults: what is promised is kept."""
    command = [sys.executable, "-m", "scripts.soak", "--seconds=15", "--sockets=300", "--seed=4"]
    command += [f"--template={os.environ[SNAPSHOT_VARIABLE]}", f"--output={tmp_path}"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "This run passed" in (tmp_path / "soak.md").read_text()
    assert (tmp_path / "soak.svg").is_file()
