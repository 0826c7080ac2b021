"""One task that owns the connection to the log, reads it, and connects again for ever."""

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from app.realtime.broker.log.base import (
    Entry,
    Log,
    LogConnection,
    LogUnavailable,
    OffsetLost,
    Start,
)
from app.realtime.broker.log.channels import CLOCKS
from app.realtime.broker.log.entry import CANARY, decode, stamp_of_malformed
from app.realtime.broker.log.partition import Partition, Sink
from app.realtime.broker.log.writer import Writer
from app.realtime.metrics import BROKER_RECONNECTS, POISON

logger = logging.getLogger(__name__)

AT_ONCE = 100
"""Entries that are handled before other tasks have their turn."""

CANARY_INTERVAL = 1.0
"""Seconds between the messages that a worker sends to itself through each partition."""

CANARY_DEADLINE = 5.0
"""Seconds without reading one, after which the connection counts as dead."""

BACKOFF_BASE, BACKOFF_CAP = 0.1, 1.0
"""Seconds: the first and the highest upper bound of the wait before a reconnection."""


class ReadAnew(LogUnavailable):
    """The log is not what this worker has read. It has to begin anew."""


class Supervisor:
    def __init__(self, log: Log, writer: Writer, sink: Sink, history_seconds: float) -> None:
        self.partitions: Sequence[Partition] = ()
        """Empty before the first connection."""
        self.ready = asyncio.Event()
        self._is_connected = False
        """Set while this worker has read the log up to its end."""
        self._log = log
        self._writer = writer
        self._sink = sink
        self._history_seconds = history_seconds
        self._connects = 0
        self._attempt = 0
        self._read_anew = False

    @property
    def alive(self) -> bool:
        """Whether this worker lately read a canary of its own in every partition."""
        if not self.ready.is_set():
            return False
        since = asyncio.get_running_loop().time() - CANARY_DEADLINE
        return all(it.heard_at is not None and it.heard_at > since for it in self.partitions)

    @property
    def is_catching_up(self) -> bool:
        """Whether there is a connection, which has not been read to its end."""
        return self._is_connected and not self.ready.is_set()

    async def run(self) -> None:
        """Stay connected, for ever."""
        try:
            while True:
                try:
                    await self._connect()
                except* (LogUnavailable, TimeoutError, OSError) as group:
                    self._log_failure(group)
                except* Exception:
                    self._attempt = max(self._attempt, 4)
                    logger.exception("the connection to %s failed unexpectedly", self._log.name)
                # Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
                ceiling = min(BACKOFF_CAP, BACKOFF_BASE * 2**self._attempt)
                self._attempt = min(self._attempt + 1, 16)
                await asyncio.sleep(random.uniform(0, ceiling))  # noqa: S311
        finally:
            self.ready.clear()
            self._writer.close()

    def _log_failure(self, group: BaseException) -> None:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, OffsetLost | ReadAnew):
            for partition in self.partitions:
                partition.forget()
            logger.warning("%s is read anew: %s", self._log.name, error)
            return
        # Only the first failure is news.
        level = logging.WARNING if self._attempt == 0 else logging.DEBUG
        description = str(error) or type(error).__name__
        logger.log(level, "no connection to %s: %s", self._log.name, description)

    async def _connect(self) -> None:
        """Use a connection until it fails."""
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(CANARY_DEADLINE):
                connection = await stack.enter_async_context(self._log.connected())
                self._use_partitions(connection.partitions)
                since = time.time() - self._history_seconds - CLOCKS
                await connection.seek([start_of(it, since) for it in self.partitions])
            self._writer.forget_canaries()
            for partition in self.partitions:
                partition.start(self._writer.canary(partition))
            self._is_connected = True
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._writer.send(connection, self.partitions, self.ready))
                    tasks.create_task(self._send_canaries())
                    await self._read(connection)
            finally:
                self._is_connected = False
                self.ready.clear()

    def _use_partitions(self, count: int) -> None:
        if len(self.partitions) == count:
            return
        was_live = bool(self.partitions)
        for partition in self.partitions:
            self._sink.begin(partition)
        self.partitions = [Partition(n, self._sink, was_live=was_live) for n in range(count)]

    async def _send_canaries(self) -> None:
        while True:
            await asyncio.sleep(CANARY_INTERVAL)
            for partition in self.partitions:
                self._writer.canary(partition)

    # --- Reading ------------------------------------------------------------------------

    async def _read(self, connection: LogConnection) -> None:
        clock = asyncio.get_running_loop().time
        async with asyncio.timeout(CANARY_DEADLINE) as silence:
            while True:
                entries = await connection.read()
                is_alive = not self.ready.is_set()  # it is enough to make progress
                for number, entry in enumerate(entries, 1):
                    is_alive = self._take(entry) or is_alive
                    if number % AT_ONCE == 0:
                        await asyncio.sleep(0)
                if is_alive:
                    silence.reschedule(clock() + CANARY_DEADLINE)
                await asyncio.sleep(0)

    def _take(self, entry: Entry) -> bool:
        """Take an entry. Returns whether it is a canary of this worker."""
        partition = self.partitions[entry.partition]
        try:
            content = decode(entry.payload)
        except ValueError:
            content = None
        stamp = content.stamp if content is not None else stamp_of_malformed(entry.payload)
        if partition.expected is not None:
            if partition.expected != (entry.offset, stamp):
                raise ReadAnew("it holds other entries than before")
            partition.expected = None
            return False
        if content is None:
            POISON.inc()
            logger.warning(
                "skipped a malformed entry: partition %d, offset %d", partition.number, entry.offset
            )
            partition.note(entry.offset, stamp)
            return False
        if content.partitions > len(self.partitions) and partition.is_live:
            raise LogUnavailable("its partitions have become more")
        if not partition.take(entry, content):
            raise ReadAnew("workers have read different entries")
        if content.kind != CANARY or not self._writer.is_own(stamp):
            return False
        partition.heard_at = asyncio.get_running_loop().time()
        if partition.is_caught_up and not self.ready.is_set():
            self._become_ready()
        return True

    def _become_ready(self) -> None:
        if not all(it.is_caught_up and it.is_known for it in self.partitions):
            return
        logger.info("connected to %s", self._log.name)
        BROKER_RECONNECTS.inc(self._connects > 0)
        self._connects += 1
        self._attempt = 0
        self.ready.set()
        self._writer.wake()


def start_of(partition: Partition, since: float) -> Start:
    """Where to go on reading, or to begin at a time."""
    last = partition.epochs.reading.last
    if partition.is_live and last is not None:
        return last.offset
    return datetime.fromtimestamp(max(0.0, since), UTC)
