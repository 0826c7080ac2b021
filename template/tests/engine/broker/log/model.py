"""Workers on an in-memory log, their clients, and what has to be true whatever happens."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from broadcaster import Event

from app.realtime.broker import BrokerUnavailable, Publication, Record
from app.realtime.broker.base import History
from app.realtime.broker.log.backend import number_of
from app.realtime.broker.log.channels import Channels, Known, Remembered
from app.realtime.broker.log.entry import Content
from app.realtime.protocol import Position
from tests.engine.broker.log.fake import FakeBackend, FakeServer
from tests.support.client import PATIENCE

WORKERS = 3
ROOMS = ("one", "two")
CLIENTS = 4

HISTORY_SIZE = 4
"""Few, so that workers forget."""

INTERVAL = 0.02
"""Seconds between canaries."""

Step = tuple[str, int, int]


class Worker:
    """A worker that can be started again."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.backend = FakeBackend(server, HISTORY_SIZE)
        self.clients: list[Client] = []
        self.plain: list[str] = []
        """The plain strings that it heard."""

    async def start(self) -> None:
        self.backend = FakeBackend(self.server, HISTORY_SIZE)
        self.plain = []
        await self.backend.connect()
        for room in ROOMS:
            await self.backend.listen(room, self.hear)
        for client in self.clients:
            client.is_current = False

    async def stop(self) -> None:
        await self.backend.disconnect()

    def hear(self, event: Event) -> None:
        if type(event) is Event:
            self.plain.append(event.message)
            return
        for client in self.clients:
            if client.room == event.channel:
                client.hear(event)


class Client:
    """Follows a room as `Room` and `Feed` do, and continues from its position anywhere."""

    def __init__(self, room: str, worker: Worker) -> None:
        self.room = room
        self.worker = worker
        worker.clients.append(self)
        self.position = Position(epoch="none yet", offset=0)
        self.base = self.position
        """Where it was when it was told that something is missing."""
        self.received: list[tuple[int, str]] = []
        """Offsets and messages since then."""
        self.is_current = False
        """Whether it knows of nothing that is missing."""

    def move(self, worker: Worker) -> None:
        self.worker.clients.remove(self)
        self.worker = worker
        worker.clients.append(self)
        self.is_current = False

    def hear(self, event: Event) -> None:
        if not self.is_current:
            return
        here = self.position
        if not isinstance(event, Publication) or event.position.epoch != here.epoch:
            self.is_current = False
        elif event.position.offset > here.offset:
            if event.previous == here.offset:
                self._take(event)
            else:
                self.is_current = False

    async def catch_up(self) -> None:
        """Read what is missing, or learn that it is lost."""
        if self.is_current:
            return
        here = self.position
        try:
            history = await self.worker.backend.history(self.room, last=0, after=[here])
        except BrokerUnavailable:
            return
        self.is_current = True
        if history.position.epoch != here.epoch or not history.has_all_after(here.offset):
            self.base = self.position = history.position
            self.received.clear()
            return
        for publication in history.publications:
            if publication.position.offset > here.offset:
                self._take(publication)
        if history.position.offset > self.position.offset:
            self.position = history.position

    def _take(self, publication: Publication) -> None:
        self.position = publication.position
        self.received.append((publication.position.offset, publication.message))


class Truth(Channels):
    """What the epochs at the end consist of, also what workers have forgotten since."""

    def __init__(self) -> None:
        super().__init__(HISTORY_SIZE, 3600, 0)
        self.found: list[tuple[Known, Publication]] = []

    def add(
        self, known: Known, offset: int, appended_at: float, content: Content
    ) -> Publication | Remembered:
        added = super().add(known, offset, appended_at, content)
        if isinstance(added, Publication):
            self.found.append((known, added))
        return added

    def clear(self, known: Known) -> None:
        super().clear(known)
        self.found = [it for it in self.found if it[0] is not known]

    def of(self, room: str) -> list[tuple[int, str]]:
        return [(it.position.offset, it.message) for _, it in self.found if it.channel == room]


class World:
    """Workers on a log, their clients, and what was acknowledged."""

    def __init__(self) -> None:
        self.server = FakeServer(partitions=2)
        self.workers = [Worker(self.server) for _ in range(WORKERS)]
        self.clients = [
            Client(ROOMS[number % len(ROOMS)], self.workers[number % WORKERS])
            for number in range(CLIENTS)
        ]
        self.acknowledged: list[tuple[str, Position, str]] = []
        self.is_damaged = False
        """Whether the log has lost something that only those who run now have seen."""
        self._count = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for worker in self.workers:
                await worker.start()
                stack.push_async_callback(worker.stop)
            await self.settle()
            yield

    async def settle(self, *others: FakeBackend) -> None:
        """Wait until all workers have read what the others say, and are in the same epochs."""
        backends = [*(it.backend for it in self.workers), *others]
        self.server.frozen.clear()
        self.server.slow.clear()
        async with asyncio.timeout(PATIENCE):
            await asyncio.sleep(4 * INTERVAL)
            while not is_settled(backends):
                await asyncio.sleep(INTERVAL)
        self.is_damaged = False
        await self._catch_up()

    async def _catch_up(self) -> None:
        for client in self.clients:
            await client.catch_up()

    # --- What happens -----------------------------------------------------------------

    async def do(self, step: Step) -> None:
        what, which, count = step
        worker = self.workers[which % WORKERS]
        room = ROOMS[count % len(ROOMS)]
        if what == "publish":
            await self.publish(worker, room, f"{which} {count}")
        elif what == "burst":
            names = [self._new_name() for _ in range(1 + count % 3)]
            await asyncio.gather(*(self.publish(worker, room, name) for name in names))
        elif what == "both":
            await self.publish_twice(room, which)
        elif what == "plain":
            with suppress(BrokerUnavailable):
                await worker.backend.publish(room, self._new_name())
        elif what == "move":
            self.clients[count % CLIENTS].move(worker)
        elif what == "restart":
            await self.restart(worker)
        elif what == "rest":
            await asyncio.sleep(3 * INTERVAL)
        else:
            self.disturb(what, worker, which, count)
        await self._catch_up()

    def disturb(self, what: str, worker: Worker, which: int, count: int) -> None:
        """A fault begins or ends."""
        server = self.server
        if what == "wipe":
            self.is_damaged = True
            server.wipe()
        elif what == "truncate":
            self.is_damaged = True
            server.truncate(which, count)
        elif what == "cut":
            server.cut()
        elif what == "repeat":
            server.repeats = True
        elif what == "freeze":
            server.frozen.add(worker.backend)
        elif what == "slow":
            server.slow.add(worker.backend)
        else:
            assert what == "thaw"
            server.frozen.discard(worker.backend)
            server.slow.discard(worker.backend)

    async def restart(self, worker: Worker) -> None:
        if self.is_damaged:  # nobody could tell what only this worker has seen
            await self.settle()
        await worker.stop()
        await worker.start()

    async def publish(self, worker: Worker, room: str, name: str) -> Position | None:
        try:
            position = await worker.backend.publish(room, Record(name, name, name))
        except BrokerUnavailable:
            return None
        assert position is not None
        self.acknowledged.append((room, position, name))
        return position

    async def publish_twice(self, room: str, which: int) -> None:
        """Two workers publish one record at the same time."""
        name = self._new_name()
        pair = [self.workers[(which + number) % WORKERS] for number in range(2)]
        first, second = await asyncio.gather(*(self.publish(it, room, name) for it in pair))
        if first and second and first.epoch == second.epoch and not self.is_damaged:
            assert first == second

    def _new_name(self) -> str:
        self._count += 1
        return f"new {self._count}"

    # --- What has to be true ------------------------------------------------------------

    async def check(self) -> None:
        """Once everything has settled."""
        for worker in self.workers:
            assert len(set(worker.plain)) == len(worker.plain)
        reader = FakeBackend(self.server, HISTORY_SIZE)
        reader._channels = truth = Truth()
        await reader.connect()
        try:
            # It may be the first one to read what all others believe to know already.
            await self.settle(reader)
            for room in ROOMS:
                position = (await reader.history(room, last=0)).position
                published = truth.of(room)
                check_once(published)
                self.check_acknowledged(room, position.epoch, published)
                await self.check_clients(room, position, published)
                await self.check_histories(room, position, published)
        finally:
            await reader.disconnect()

    def check_acknowledged(
        self, room: str, epoch: str, published: Sequence[tuple[int, str]]
    ) -> None:
        """What was acknowledged in an epoch that lasts is there."""
        for name, position, message in self.acknowledged:
            if (name, position.epoch) == (room, epoch):
                assert (position.offset, message) in published

    async def check_clients(
        self, room: str, position: Position, published: Sequence[tuple[int, str]]
    ) -> None:
        """Everybody has received everything, once and in order, since they were last told."""
        for client in self.clients:
            if client.room == room:
                await client.catch_up()
                assert client.position.epoch == position.epoch
                assert client.received == [it for it in published if it[0] > client.base.offset]

    async def check_histories(
        self, room: str, position: Position, published: Sequence[tuple[int, str]]
    ) -> None:
        """All workers have the same history, and know what they say that they know."""
        for worker in self.workers:
            for last in (0, 1, HISTORY_SIZE):
                for after in ([], [it for it, _ in published[-3:]]):
                    history = await worker.backend.history(
                        room,
                        last=last,
                        after=[Position(epoch=position.epoch, offset=it) for it in after],
                    )
                    assert history.position.epoch == position.epoch
                    check_history(history, published)
                    entries = self.server.entries[number_of(room, len(self.server.entries))]
                    assert (history.quiet_until or 0) <= entries[-1].offset + 1


def is_settled(backends: Sequence[FakeBackend]) -> bool:
    epochs = [[it.known.epoch for it in backend._supervisor.partitions] for backend in backends]
    return all(it.alive for it in backends) and all(it == epochs[0] for it in epochs)


def check_once(published: Sequence[tuple[int, str]]) -> None:
    """Nothing is published again while it is remembered."""
    names = [name for _, name in published]
    for index, name in enumerate(names):
        assert name not in names[max(0, index - HISTORY_SIZE) : index]


def check_history(history: History, published: Sequence[tuple[int, str]]) -> None:
    """Whoever continues from an offset of which history has all misses nothing."""
    found = [(it.position.offset, it.message) for it in history.publications]
    end = max(history.position.offset, history.quiet_until or 0)
    assert end >= max((offset for offset, _ in published), default=0)
    for offset in range(end + 1):
        if history.has_all_after(offset):
            expected = [it for it in published if it[0] > offset]
            assert [it for it in found if it[0] > offset] == expected
