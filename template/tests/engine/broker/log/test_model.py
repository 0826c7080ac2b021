"""Whatever happens to a log, all workers agree, and nobody misses something without being told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from broadcaster import Event
from hypothesis import given, settings
from hypothesis import strategies as st

from app.realtime.broker import BrokerUnavailable, Publication, Record
from app.realtime.broker.log import supervisor
from app.realtime.protocol import Position
from tests.engine.broker.log.fake import FakeBackend, FakeServer
from tests.support.client import PATIENCE

WORKERS = 3
ROOMS = ("one", "two")

INTERVAL = 0.02
"""Seconds between canaries."""

Step = tuple[str, int, int]

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(0, WORKERS - 1), st.integers(0, 5)),
        st.tuples(st.just("publish"), st.integers(0, WORKERS - 1), st.integers(0, 5)),
        st.tuples(st.just("wipe"), st.just(0), st.just(0)),
        st.tuples(st.just("truncate"), st.integers(0, 1), st.integers(1, 6)),
        st.tuples(st.just("cut"), st.just(0), st.just(0)),
        st.tuples(st.just("restart"), st.integers(0, WORKERS - 1), st.just(0)),
        st.tuples(st.just("freeze"), st.integers(0, WORKERS - 1), st.just(0)),
        st.tuples(st.just("thaw"), st.integers(0, WORKERS - 1), st.just(0)),
        st.tuples(st.just("rest"), st.just(0), st.just(0)),
    ),
    min_size=4,
    max_size=25,
)


class Worker:
    """A worker, and a client on it that never misses what it is not told about."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.backend = FakeBackend(server)
        self.heard: dict[str, list[Event]] = {}

    async def start(self) -> None:
        self.backend = FakeBackend(self.server)
        await self.backend.connect()
        self.heard = {room: [] for room in ROOMS}
        for room in ROOMS:
            await self.backend.listen(room, self.heard[room].append)

    async def stop(self) -> None:
        await self.backend.disconnect()


class World:
    """Workers on a log, and what was acknowledged to whom."""

    def __init__(self) -> None:
        self.server = FakeServer(partitions=2)
        self.workers = [Worker(self.server) for _ in range(WORKERS)]
        self.given: dict[tuple[str, str, int], str] = {}
        """By room, epoch and offset, the message that somebody was told to be there."""
        self.doubtful: set[str] = set()
        """Epochs in which a position was given twice. They have to end."""
        self.is_damaged = False
        """Whether the log has lost something that only those who run now have seen."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for worker in self.workers:
                await worker.start()
                stack.push_async_callback(worker.stop)
            await self.settle()
            yield

    async def settle(self) -> None:
        """Wait until all workers have read what the others say, and are in the same epochs."""
        self.server.frozen.clear()
        self.is_damaged = False
        async with asyncio.timeout(PATIENCE):
            await asyncio.sleep(4 * INTERVAL)
            while True:
                await asyncio.sleep(0.02)
                if not all(it.backend.alive for it in self.workers):
                    continue
                epochs = [
                    [it.known.epoch for it in worker.backend._supervisor.partitions]
                    for worker in self.workers
                ]
                if all(it == epochs[0] for it in epochs):
                    return

    async def do(self, step: Step) -> None:
        what, which, count = step
        worker = self.workers[which % WORKERS]
        if what == "publish":
            await self.publish(worker, ROOMS[count % 2], f"{which} {count}")
        elif what == "wipe":
            self.is_damaged = True
            self.server.wipe()
        elif what == "truncate":
            self.is_damaged = True
            entries = self.server.entries[which]
            self.server.truncate(which, max(0, len(entries) - count))
        elif what == "cut":
            self.server.cut()
        elif what == "restart":
            if self.is_damaged:  # nobody could tell what only this worker has seen
                await self.settle()
            await worker.stop()
            await worker.start()
        elif what == "freeze":
            self.server.frozen.add(worker.backend)
        elif what == "thaw":
            self.server.frozen.discard(worker.backend)
        else:
            await asyncio.sleep(0.15)

    async def publish(self, worker: Worker, room: str, name: str) -> None:
        try:
            position = await worker.backend.publish(room, Record(name, name, name))
        except BrokerUnavailable:
            return
        assert position is not None
        self.note(room, position, name)

    def note(self, room: str, position: Position, message: str) -> None:
        """A position of a room has one message, as long as its epoch lasts."""
        place = (room, position.epoch, position.offset)
        if self.given.setdefault(place, message) != message:
            self.doubtful.add(position.epoch)

    async def check(self) -> None:
        """All workers agree, and whoever continues from a position gets what followed it."""
        for room in ROOMS:
            histories = [await it.backend.history(room, last=1000) for it in self.workers]
            known = {
                (it.position.epoch, it.position.offset): it.message
                for history in histories
                for it in history.publications
            }
            for worker in self.workers:
                for event in worker.heard[room]:
                    if isinstance(event, Publication):
                        self.note(room, event.position, event.message)
            assert histories[0].position.epoch not in self.doubtful
            for history in histories:
                assert history.position.epoch == histories[0].position.epoch
                # One that began to read later may know less, but nothing else.
                first = history.reaches_back_to
                mine = {p: m for p, m in known.items() if p[1] > first}
                assert mine == {
                    (it.position.epoch, it.position.offset): it.message
                    for it in history.publications
                }
                self.check_promises(room, history.position.epoch, first, known)

    def check_promises(
        self, room: str, epoch: str, first: int, known: dict[tuple[str, int], str]
    ) -> None:
        """What was acknowledged in an epoch that lasts is in the history."""
        for (name, its_epoch, offset), message in self.given.items():
            if name == room and its_epoch == epoch and offset > first:
                assert known.get((epoch, offset)) == message


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "CANARY_INTERVAL", INTERVAL)
    monkeypatch.setattr(supervisor, "BACKOFF_CAP", 0.05)
    monkeypatch.setattr(supervisor, "BACKOFF_BASE", 0.01)
    monkeypatch.setattr("app.realtime.broker.log.writer.PUBLISH_DEADLINE", 0.2)


async def run(steps: list[Step]) -> None:
    world = World()
    async with world.running():
        for step in steps:
            await world.do(step)
        await world.settle()
        for room in ROOMS:
            await asyncio.gather(
                *(world.publish(it, room, f"end {n}") for n, it in enumerate(world.workers))
            )
        await world.settle()
        await world.check()


@pytest.mark.usefixtures("fast")
@settings(max_examples=20, deadline=None)
@given(steps=STEPS)
def test_all_workers_agree_whatever_happens_to_the_log(steps: list[Step]) -> None:
    asyncio.run(run(steps))
