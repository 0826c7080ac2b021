"""An in-memory log, with the faults that a real one has."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from app.realtime.broker.log.backend import LogBackend
from app.realtime.broker.log.base import (
    Draft,
    Entry,
    EntryRefused,
    Log,
    LogConnection,
    LogUnavailable,
    OffsetLost,
    Start,
)
from app.realtime.broker.log.entry import HEADER

AT_ONCE = 500
"""Entries that `read` returns at most."""


def is_message(payload: bytes) -> bool:
    """Whether an entry is no canary."""
    return len(payload) > HEADER.size


class FakeServer:
    """What all connections share."""

    def __init__(self, partitions: int = 2, max_bytes: int = 10**9) -> None:
        self.entries: list[list[Entry]] = [[] for _ in range(partitions)]
        self.max_bytes = max_bytes
        self.is_up = True
        self.connections: set[FakeConnection] = set()
        self.news = asyncio.Condition()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.frozen: set[object] = set()
        """Backends that neither read nor write, as if their processes were stopped."""
        self.slow: set[object] = set()
        """Backends that read one entry at a time."""
        self.repeats = False
        """Whether the next messages are appended twice, as after an answer that was lost."""

    def wipe(self) -> None:
        """Lose everything. Offsets begin at 0 again."""
        for entries in self.entries:
            entries.clear()

    def truncate(self, partition: int, count: int) -> None:
        """Lose the end of a partition, with so many messages."""
        entries = self.entries[partition]
        messages = [index for index, it in enumerate(entries) if is_message(it.payload)]
        if messages and count:
            del entries[messages[-min(count, len(messages))] :]

    def cut(self) -> None:
        """Break every connection."""
        for connection in self.connections:
            connection.is_broken = True

    async def put(self, partition: int, payload: bytes) -> int:
        entries = self.entries[partition]
        offset = entries[-1].offset + 1 if entries else 0
        entries.append(Entry(partition, offset, time.time(), payload))
        async with self.news:
            self.news.notify_all()
        return offset


class FakeConnection(LogConnection):
    def __init__(self, server: FakeServer, owner: object) -> None:
        self._server = server
        self._owner = owner
        self._next: list[int] = []
        self.is_broken = False

    @property
    def partitions(self) -> int:
        return len(self._server.entries)

    async def _check(self) -> None:
        await self._server.flowing.wait()
        while self._owner in self._server.frozen:
            await asyncio.sleep(0.01)
        if self.is_broken or not self._server.is_up:
            raise LogUnavailable("the fake is broken")

    async def append(self, drafts: Sequence[Draft]) -> Sequence[EntryRefused | None]:
        await self._check()
        results: list[EntryRefused | None] = []
        for draft in drafts:
            if len(draft.payload) > self._server.max_bytes:
                results.append(EntryRefused("it is too large"))
                continue
            await self._server.put(draft.partition, draft.payload)
            results.append(None)
        if self._server.repeats and any(is_message(it.payload) for it in drafts):
            self._server.repeats = False
            await self.append(drafts)
        return results

    async def seek(self, starts: Sequence[Start]) -> None:
        await self._check()
        for start, entries in zip(starts, self._server.entries, strict=True):
            end = entries[-1].offset + 1 if entries else 0
            if isinstance(start, datetime):
                since = start.timestamp()
                later = (it.offset for it in entries if it.appended_at >= since)
                self._next.append(next(later, end))
            elif start >= end or start < entries[0].offset:
                raise OffsetLost(f"there is no entry {start}")
            else:
                self._next.append(start)

    async def read(self) -> Sequence[Entry]:
        while True:
            await self._check()
            is_slow = self._owner in self._server.slow
            if is_slow:
                await asyncio.sleep(0.01)
            found: list[Entry] = []
            for number, entries in enumerate(self._server.entries[: len(self._next)]):
                end = entries[-1].offset + 1 if entries else 0
                if self._next[number] > end:
                    raise OffsetLost(f"there is no entry {self._next[number]}")
                index = self._next[number] - (entries[0].offset if entries else 0)
                news = entries[index : index + (1 if is_slow else AT_ONCE)]
                if news:
                    self._next[number] = news[-1].offset + 1
                    found += news
            if found:
                return found
            async with self._server.news:
                try:
                    async with asyncio.timeout(0.05):
                        await self._server.news.wait()
                except TimeoutError:
                    pass


class FakeLog(Log):
    name = "the fake"

    def __init__(self, server: FakeServer, owner: object) -> None:
        self._server = server
        self._owner = owner

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[LogConnection]:
        await self._server.flowing.wait()
        if not self._server.is_up:
            raise LogUnavailable("the fake is down")
        connection = FakeConnection(self._server, self._owner)
        self._server.connections.add(connection)
        try:
            yield connection
        finally:
            self._server.connections.discard(connection)


class FakeBackend(LogBackend):
    schemes = ("fake",)

    def __init__(
        self,
        server: FakeServer,
        history_size: int = 1000,
        history_seconds: float = 3600,
        history_bytes: int = 0,
    ) -> None:
        super().__init__(
            "fake://", history_size, history_seconds, history_bytes, FakeLog(server, self)
        )
        self.server = server
