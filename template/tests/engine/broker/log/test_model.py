"""Whatever happens to a log, all workers agree, and nobody misses something without being told."""

import asyncio

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.realtime.broker.log import supervisor
from tests.engine.broker.log.model import CLIENTS, INTERVAL, ROOMS, WORKERS, Step, World


def step(what: str, which: int = 1, count: int = 1) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(what), st.integers(0, which - 1), st.integers(0, count - 1))


PUBLISHING = st.one_of(
    step("publish", WORKERS, 6),
    step("burst", WORKERS, 6),
    step("both", WORKERS, 2),
    step("plain", WORKERS, 2),
    step("move", WORKERS, CLIENTS),
)

FAULTS = st.one_of(
    step("wipe"),
    step("truncate", 2, 4),
    step("cut"),
    step("restart", WORKERS),
    step("freeze", WORKERS),
    step("slow", WORKERS),
    step("thaw", WORKERS),
    step("repeat"),
    step("rest"),
)

STEPS = st.lists(st.one_of(PUBLISHING, FAULTS), min_size=4, max_size=25)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "CANARY_INTERVAL", INTERVAL)
    monkeypatch.setattr(supervisor, "BACKOFF_CAP", 0.05)
    monkeypatch.setattr(supervisor, "BACKOFF_BASE", 0.01)
    monkeypatch.setattr("app.realtime.broker.log.writer.PUBLISH_DEADLINE", 0.1)
    monkeypatch.setattr("app.realtime.broker.log.backend.PUBLISH_DEADLINE", 0.1)


async def run(steps: list[Step]) -> None:
    world = World()
    async with world.running():
        for it in steps:
            await world.do(it)
        await world.settle()
        for room in ROOMS:
            await asyncio.gather(
                *(world.publish(it, room, f"end {n}") for n, it in enumerate(world.workers))
            )
        await world.settle()
        await world.check()


LOST: list[Step] = [
    ("burst", 0, 2),
    ("burst", 0, 5),
    ("truncate", 0, 2),
    ("truncate", 1, 2),
]

APPENDED_TWICE: list[Step] = [
    ("repeat", 0, 0),
    ("plain", 0, 0),
    ("repeat", 0, 0),
    ("both", 0, 1),
]

IN_THE_PLACE_OF_THE_LAST_ONE: list[Step] = [
    ("publish", 2, 0),
    ("both", 1, 0),
    ("truncate", 1, 1),
    ("plain", 1, 0),
]

LOST_WHAT_A_WORKER_WAITS_FOR: list[Step] = [
    ("slow", 2, 0),
    ("slow", 1, 0),
    ("both", 1, 1),
    *([("burst", 0, 4), ("burst", 0, 5)] * 6),
    ("cut", 0, 0),
    ("burst", 0, 4),
    ("burst", 0, 5),
    ("truncate", 0, 3),
    ("truncate", 1, 3),
]


@pytest.mark.usefixtures("fast")
@settings(max_examples=20, deadline=None)
@given(steps=STEPS)
@example(steps=LOST)
@example(steps=APPENDED_TWICE)
@example(steps=LOST_WHAT_A_WORKER_WAITS_FOR)
@example(steps=IN_THE_PLACE_OF_THE_LAST_ONE)
def test_nobody_misses_something_without_being_told(steps: list[Step]) -> None:
    asyncio.run(run(steps))
