"""Messages between any number of processes, through an ordered log.

Every worker reads the whole log, and concludes from it what each channel remembers and where
it stands. So all workers agree, and the log needs to know nothing of channels.

Guarantees: a publication is answered once its worker has read it back from the log. Then the
log keeps it, every worker receives it in the same order, and it has its position. Records
that were appended twice, because the first answer came too late, are recognized by all
workers alike. A worker that was cut off goes on reading where it was and misses nothing.

If the log loses its end (a failover to a stale replica, a power failure of all servers, an older
copy that is restored), a worker that had not read it may give the positions of lost messages
to others, in the same epoch. That lasts until a worker that had read them appends something:
a canary interval, or until it has reconnected. Then the epoch ends everywhere, and
members get `resync`. If no worker is left that had read them, nobody can tell.

A worker that starts reads from `HISTORY_SECONDS` and a minute ago up to the end of the log
before it answers; until then it is not alive. It holds the history of all channels in its
memory, up to `HISTORY_BYTES`; the channels used longest ago are forgotten first. More
publications than one worker can read are more than this broker can carry: workers then fall
behind and refuse to publish.

Each worker appends one canary a second to every partition.
"""

import asyncio
import secrets
import time
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from broadcaster import Event

from app.realtime.broker.base import (
    PUBLISH_DEADLINE,
    Backend,
    BrokerUnavailable,
    History,
    IdTaken,
    Page,
    Publication,
    Record,
    Resubscribed,
)
from app.realtime.broker.log.base import Entry, Log
from app.realtime.broker.log.channels import Channels
from app.realtime.broker.log.entry import PLAIN, RECORD, Content, encode_body
from app.realtime.broker.log.partition import Partition
from app.realtime.broker.log.supervisor import Supervisor
from app.realtime.broker.log.writer import Writer
from app.realtime.broker.outage import OutageGuard
from app.realtime.protocol import Position


class LogBackend(Backend):
    """A broker that is an ordered log. A subclass says which, and how its URL is read."""

    def __init__(
        self,
        url: str,
        history_size: int,
        history_seconds: float,
        history_bytes: int,
        log: Log,
    ) -> None:
        super().__init__(url, history_size, history_seconds, history_bytes)
        self._name = log.name
        self._channels = Channels(self.history_size, history_seconds, history_bytes)
        self._writer = Writer(secrets.token_bytes(8), log.name)
        self._supervisor = Supervisor(log, self._writer, self, history_seconds)
        self._outage = OutageGuard(log.name, lambda: self.alive)
        self._running = AsyncExitStack()

    @property
    def alive(self) -> bool:
        return self._supervisor.alive

    @property
    def is_catching_up(self) -> bool:
        return self._supervisor.is_catching_up

    async def connect(self) -> None:
        """Start to connect. An unreachable server is no error: it may come back."""
        await self._running.enter_async_context(self._tasks())

    async def disconnect(self) -> None:
        await self._running.aclose()

    @asynccontextmanager
    async def _tasks(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            supervising = tasks.create_task(self._supervisor.run())
            try:
                yield
            finally:
                supervising.cancel()

    async def _open(self, channel: str) -> None:
        if self._supervisor.ready.is_set():
            partition = self._supervisor.partitions[self._number_of(channel)]
            self._channels.hear(channel, partition.known)

    async def _close(self, channel: str) -> None:
        self._channels.unhear(channel)

    # --- Publishing -------------------------------------------------------------------

    def submit(
        self,
        channel: str,
        message: str | Record,
        seen: Position | None = None,  # noqa: ARG002 - this worker knows what it has seen
    ) -> asyncio.Future[Position | None] | Position | None:
        self._outage.check()
        if isinstance(message, str):
            kind, body = PLAIN, encode_body(channel, message)
        else:
            position = self._known_position(channel, message)
            if position is not None:
                return position
            kind = RECORD
            body = encode_body(channel, message.message, message.id, message.digest)
        answer = self._writer.submit(kind, zlib.crc32(channel.encode()), body)
        answer.add_done_callback(self._note_failure)
        return answer

    def _known_position(self, channel: str, record: Record) -> Position | None:
        """The position of a record that the channel remembers already."""
        if not self._supervisor.ready.is_set():
            return None
        first = self._channels.find(channel, record.id, clock())
        if first is None:
            return None
        if first.digest.hex() != record.digest:
            raise IdTaken(record.id)
        partition = self._supervisor.partitions[self._number_of(channel)]
        return Position(epoch=partition.known.epoch, offset=first.offset)

    def _note_failure(self, answer: "asyncio.Future[Position | None]") -> None:
        if answer.cancelled():
            return
        error = answer.exception()
        if error is None:
            self._outage.answered()
        elif isinstance(error, BrokerUnavailable):
            self._outage.failed(error)

    # --- History ------------------------------------------------------------------------

    async def history(
        self,
        channel: str,
        *,
        last: int,
        after: Sequence[Position] = (),
        seen: Position | None = None,  # noqa: ARG002 - this worker knows what it has seen
    ) -> History:
        partition = await self._current_partition(channel)
        known = partition.known
        if self._is_heard(channel):
            self._channels.hear(channel, known)
        offsets = [it.offset for it in after if it.epoch == known.epoch]
        return self._channels.history(channel, known, clock(), last, partial(not_lower, offsets))

    async def page(self, channel: str, *, before: int | None, limit: int) -> Page:
        partition = await self._current_partition(channel)
        return self._channels.page(channel, partition.known, clock(), before, limit)

    async def _current_partition(self, channel: str) -> Partition:
        """Wait until this worker has read everything. Raises BrokerUnavailable."""
        self._outage.check()
        try:
            async with asyncio.timeout(PUBLISH_DEADLINE):
                await self._supervisor.ready.wait()
        except TimeoutError as error:
            raise self._outage.failed(
                BrokerUnavailable(f"{self._name} was not read up to its end in time")
            ) from error
        self._channels.forget_unused(clock())
        return self._supervisor.partitions[self._number_of(channel)]

    def _number_of(self, channel: str) -> int:
        return number_of(channel, len(self._supervisor.partitions))

    # --- What the supervisor reads --------------------------------------------------------

    def take(self, partition: Partition, entry: Entry, content: Content) -> None:
        """Take an entry of the epoch that its partition is in."""
        name = content.channel
        if self._number_of(name) != partition.number:
            return  # written when the log had fewer partitions
        is_delivered = partition.is_live and self._is_heard(name)
        if content.kind == PLAIN:
            self._writer.resolve(content.stamp, None)
            if is_delivered:
                self._deliver(Event(name, content.message))
            return
        known = partition.known
        if is_delivered:
            self._channels.hear(name, known)
        added = self._channels.add(known, entry.offset + 1, entry.appended_at, content)
        if isinstance(added, Publication):
            self._writer.resolve(content.stamp, added.position)
            if is_delivered:
                self._deliver(added)
        elif added.digest == content.digest:
            position = Position(epoch=known.epoch, offset=added.offset)
            self._writer.resolve(content.stamp, position)
        else:
            self._writer.fail(content.stamp, IdTaken(content.id))

    def begin(self, partition: Partition) -> None:
        """Forget a partition, because another epoch has begun or because it is read anew."""
        self._channels.clear(partition.known)

    def resubscribed(self, partition: Partition) -> None:
        """Tell everybody who hears a channel of the partition that something may be missing."""
        for name in [*{*self._listeners, *self._subscribed}]:
            if self._number_of(name) == partition.number:
                self._deliver(Resubscribed(name))


def clock() -> float:
    """Seconds since 1970, in the milliseconds of a log.

    So a record that is not shown any more is not in the way of its id either.
    """
    return time.time_ns() // 1_000_000 / 1000


def number_of(channel: str, partitions: int) -> int:
    """The partition in which a channel lives."""
    return zlib.crc32(channel.encode()) % partitions


def not_lower(offsets: Sequence[int], than: int) -> list[int]:
    return [offset for offset in offsets if offset >= than]
