"""Two processes that publish and read under load, and what has to be true afterwards."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

from broadcaster import Event

from app.realtime.broker import Backend, BrokerUnavailable, Publication, Resubscribed
from app.realtime.protocol import Position
from tests.engine.broker.contract import connected, record
from tests.support.client import PATIENCE, until


class Publisher:
    """Publishes numbered records in a channel for ever, and knows which were acknowledged."""

    def __init__(self, backend: Backend, channel: str, name: str) -> None:
        self._backend = backend
        self.channel = channel
        self._name = name
        self.acknowledged: list[tuple[Position, str]] = []
        self.refused = 0
        self.slowest = 0.0
        """Seconds until the slowest answer."""

    async def run(self) -> None:
        number = 0
        while True:
            number += 1
            text = f"{self._name} {number}"
            started_at = time.monotonic()
            try:
                position = await self._backend.publish(self.channel, record(text))
            except BrokerUnavailable:
                self.refused += 1
            else:
                assert position is not None
                self.acknowledged.append((position, f"message {text}"))
            self.slowest = max(self.slowest, time.monotonic() - started_at)
            await asyncio.sleep(0.005)


class Reader:
    """A room in short: what it has received is a chain, or it was told to begin anew."""

    def __init__(self, backend: Backend, channel: str) -> None:
        self._backend = backend
        self.channel = channel
        self.at: Position | None = None
        self.received: list[tuple[Position, str]] = []
        self.began: list[Position] = []
        """Where it had to begin, first when it joined and then with each new epoch."""
        self._due = asyncio.Event()
        self._live: list[Event] = []

    def hear(self, event: Event) -> None:
        self._live.append(event)
        self._due.set()

    async def run(self) -> None:
        await self._backend.listen(self.channel, self.hear)
        await self.read()
        while True:
            await self._due.wait()
            self._due.clear()
            events, self._live = self._live, []
            for event in events:
                await self._take(event)

    async def _take(self, event: Event) -> None:
        at = self.at
        if isinstance(event, Resubscribed):
            await self.read()
        elif isinstance(event, Publication) and at is not None:
            is_next = at == Position(epoch=event.position.epoch, offset=event.previous)
            if is_next:
                self._append([event])
            elif event.position.epoch != at.epoch or event.position.offset > at.offset:
                await self.read()

    async def read(self) -> None:
        """Fill in what is missing, or begin anew."""
        while True:
            after = [] if self.at is None else [self.at]
            try:
                history = await self._backend.history(
                    self.channel, last=0, after=after, seen=self.at
                )
                break
            except BrokerUnavailable:
                await asyncio.sleep(0.05)
        same = self.at is not None and history.position.epoch == self.at.epoch
        if not same or not history.has_all_after(self.at.offset if self.at else 0):
            self.began.append(history.position)
        else:
            self._append(history.publications)
        self.at = history.position

    async def settled(self) -> None:
        """Wait until it has everything that its history has."""
        async with asyncio.timeout(PATIENCE):
            while True:
                history = await self._backend.history(self.channel, last=0, seen=self.at)
                if history.position == self.at:
                    return
                await asyncio.sleep(0.02)

    def _append(self, publications: Sequence[Publication]) -> None:
        for publication in publications:
            if self.at is not None and publication.position.offset > self.at.offset:
                self.received.append((publication.position, publication.message))
                self.at = publication.position


class Load:
    """Two backends, each with a publisher and a reader of every channel."""

    def __init__(self, backends: Sequence[Backend], channels: Sequence[str]) -> None:
        self.backends = backends
        self.readers = [Reader(it, channel) for it in backends for channel in channels]
        self.publishers = [
            Publisher(it, channel, f"{channel} {number}")
            for number, it in enumerate(backends)
            for channel in channels
        ]

    def of(self, channel: str) -> list[Publisher]:
        return [it for it in self.publishers if it.channel == channel]

    async def goes_on(self, channels: Sequence[str], patience: float = PATIENCE) -> None:
        """Wait until every publisher of these channels got ten more acknowledgements."""
        publishers = [it for it in self.publishers if it.channel in channels]
        before = {it: len(it.acknowledged) for it in publishers}
        await until(
            lambda: all(len(it.acknowledged) >= before[it] + 10 for it in publishers), patience
        )

    async def verify(self) -> None:
        """Nothing acknowledged is missing, doubled or out of order, or an epoch says so."""
        for reader in self.readers:
            await reader.settled()
            assert reader.at is not None
            positions = [position for position, _ in reader.received]
            for before, behind in pairwise(positions):
                assert behind.epoch != before.epoch or behind.offset > before.offset
            texts = [text for _, text in reader.received]
            assert len(set(texts)) == len(texts)
            began = reader.began[-1]
            received = set(reader.received)
            for publisher in self.of(reader.channel):
                for position, text in publisher.acknowledged:
                    if position.epoch == began.epoch and position.offset > began.offset:
                        assert (position, text) in received, reader.began
                    else:
                        assert position.epoch in {it.epoch for it in reader.began}


@asynccontextmanager
async def under_load(url: str, channels: Sequence[str]) -> AsyncIterator[Load]:
    """Publish and read for the length of the block. Then verify what was read."""
    async with connected(url) as one, connected(url) as other:
        load = Load((one, other), channels)
        async with asyncio.TaskGroup() as tasks:
            reading = [tasks.create_task(it.run()) for it in load.readers]
            await until(lambda: all(it.at is not None for it in load.readers))
            publishing = [tasks.create_task(it.run()) for it in load.publishers]
            await load.goes_on(channels)
            yield load
            for task in publishing:
                task.cancel()
            await asyncio.wait(publishing)
            await load.verify()
            for task in reading:
                task.cancel()
