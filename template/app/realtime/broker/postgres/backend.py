"""Messages between any number of processes, through tables and NOTIFY of PostgreSQL.

Guarantees: the records of a channel reach every subscribed worker in order and once. One
transaction locks the channel, gives the record its offset, remembers it and notifies. So
everything that a subscriber receives is in the history, and what a worker missed during an
outage can be read from there. After an outage the backend returns `Resubscribed` for every
channel. What was acknowledged is as safe as `synchronous_commit` of the server makes it.

An offset is the time of its publication in microseconds, or one more than the one before it
if the clock is behind. So a channel that was forgotten never gives an offset twice.

Reading a channel stores nothing. Where a channel stands is remembered for a week after its
last publication, and for `MAX_POSITIONS` channels without a history: those used longest ago
are forgotten first. All channels that begin in the same week share an epoch. When a position
of this epoch is forgotten before the week is over, channels that begin later have another one.

All epochs end when data was lost: when a replica takes over or a backup is recovered
(another timeline), when a dump is restored (other tables), and when PostgreSQL has written
less than the workers know, after a crash that lost transactions or in an older copy of the
data. A channel gets an epoch of its own when a worker has seen more of it than is known.

What it costs: a worker sends all that waits in one transaction, and PostgreSQL commits one
transaction with notifications at a time, for all databases of the server. So the time of a
commit bounds what all workers publish together. Every worker hears of every message, and
skips those of channels that nobody here has subscribed; a message of about 8,000 bytes and
more is read by those who have. Subscribing costs PostgreSQL nothing, whatever the number of
channels. A worker holds three connections, and a fourth once there was a large message.

Notifications need a connection of their own to the server. Everything else goes through a
pooler that pools transactions, if `listen` in the URL names the server itself.

PostgreSQL 13 or later is needed, with a database in UTF-8.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import asyncpg

from app.realtime.broker.base import (
    PUBLISH_DEADLINE,
    Backend,
    BrokerUnavailable,
    History,
    IdTaken,
    Page,
    Record,
)
from app.realtime.broker.outage import OutageGuard, describe
from app.realtime.broker.postgres.address import SCHEMES, read_address
from app.realtime.broker.postgres.errors import Outage
from app.realtime.broker.postgres.notifications import MAX_OFFSET
from app.realtime.broker.postgres.pipeline import Pipeline
from app.realtime.broker.postgres.statements import (
    Canary,
    Statements,
    digest_of,
    pair,
    read,
    wanted,
)
from app.realtime.broker.postgres.subscriptions import Subscriptions
from app.realtime.protocol import Position

logger = logging.getLogger(__name__)

READS_AT_ONCE = 32
"""Readings of history in one statement."""

LARGE_AT_ONCE = 16
"""Large messages in one statement."""

SWEEP_DEADLINE = 5.0
"""Seconds for one step of removing what is too old."""

MAX_CHANNEL = 1000
"""Bytes of a channel's name. A notification has 7,999 for everything."""


class PostgresBackend(Backend):
    schemes = SCHEMES

    def __init__(
        self, url: str, history_size: int, history_seconds: float, history_bytes: int = 0
    ) -> None:
        super().__init__(url, history_size, history_seconds, history_bytes)
        self._address = address = read_address(url)
        self._statements = run = Statements(address.schema, self.history_size, history_seconds)
        # History can be large. Publishing does not wait for it, nor do large messages.
        self._writes = Pipeline(self._connect, run.publish, PUBLISH_DEADLINE)
        self._reads = Pipeline(self._connect, run.read, PUBLISH_DEADLINE, READS_AT_ONCE)
        self._large = Pipeline(self._connect, run.large, PUBLISH_DEADLINE, LARGE_AT_ONCE)
        self._subscriptions = Subscriptions(
            address.schema,
            self._connect_listening,
            self._writes,
            reads=self._reads,
            large=self._large,
            deliver=self._deliver,
            receive_canary=self._receive_canary,
        )
        self._sweep_due = asyncio.Event()
        self._outage = OutageGuard("PostgreSQL", lambda: self.alive)
        self._running = AsyncExitStack()

    @property
    def alive(self) -> bool:
        return self._subscriptions.alive

    async def connect(self) -> None:
        """Start to connect. An unreachable server is no error: it may come back."""
        await self._running.enter_async_context(self._tasks())

    async def disconnect(self) -> None:
        await self._running.aclose()

    @asynccontextmanager
    async def _tasks(self) -> AsyncIterator[None]:
        async with (
            self._writes.running(),
            self._reads.running(),
            self._large.running(),
            self._subscriptions.running(),
            asyncio.TaskGroup() as tasks,
        ):
            sweeping = tasks.create_task(self._sweep())
            try:
                yield
            finally:
                sweeping.cancel()

    async def _connect(self) -> asyncpg.Connection:
        """A connection for statements, once there is something to talk about."""
        await self._subscriptions.has_tables.wait()
        # A pooler may use another connection for each transaction, which does not know the
        # statements that were prepared on the one before.
        size = 0 if self._address.is_pooled else 100
        return await connect(self._address.url, size)

    async def _connect_listening(self) -> asyncpg.Connection:
        return await connect(self._address.listen_url, 100)

    async def _open(self, channel: str) -> None:
        self._subscriptions.add(channel)

    async def _close(self, channel: str) -> None:
        self._subscriptions.remove(channel)

    def submit(
        self, channel: str, message: str | Record, seen: Position | None = None
    ) -> asyncio.Future[Position | None]:
        self._outage.check()
        check_name(channel)
        if isinstance(message, str):
            row: tuple[Any, ...] = (channel, None, None, message.encode(), "", 0)
        else:
            digest = bytes.fromhex(message.digest)
            payload = message.message.encode()
            row = (channel, digest_of(message.id), digest, payload, *pair(seen))
        answer = self._writes.submit(*row, size=len(row[3]))
        taken: asyncio.Future[Position | None] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(partial(self._taken, message, taken))
        return taken

    def _taken(
        self,
        message: str | Record,
        taken: asyncio.Future[Position | None],
        answer: asyncio.Future[Any],
    ) -> None:
        """Pass on PostgreSQL's answer to whoever waits for `taken`."""
        if answer.cancelled():
            taken.cancel()
            return
        position: Position | None = None
        error = answer.exception()
        if error is not None:
            error = self._unavailable("take the message", error)
        else:
            self._outage.answered()
            if isinstance(message, Record):
                published = answer.result()
                position = Position(epoch=published.epoch, offset=published.offset)
                if published.is_taken:
                    error = IdTaken(message.id)
        if taken.cancelled():
            return
        if error is None:
            taken.set_result(position)
        else:
            taken.set_exception(error)

    async def history(
        self,
        channel: str,
        *,
        last: int,
        after: Sequence[Position] = (),
        seen: Position | None = None,
    ) -> History:
        confirmed = self._subscriptions.confirmed(channel)
        if not confirmed.is_set():
            self._outage.check()
        try:
            async with asyncio.timeout(PUBLISH_DEADLINE):
                await confirmed.wait()
                found = await self._reads.submit(channel, *pair(seen), last, None, wanted(after))
        except Outage as error:
            raise self._unavailable("answer", error) from error
        self._outage.answered()
        position, publications = read(channel, found)
        return History(position, publications)

    async def page(self, channel: str, *, before: int | None, limit: int) -> Page:
        self._outage.check()
        bound = None if before is None else max(0, min(before, MAX_OFFSET))
        try:
            async with asyncio.timeout(PUBLISH_DEADLINE):
                found = await self._reads.submit(channel, "", 0, limit + 1, bound, "")
        except Outage as error:
            raise self._unavailable("answer", error) from error
        self._outage.answered()
        position, publications = read(channel, found)
        return Page(position.epoch, publications[-limit:], complete=len(publications) <= limit)

    def _unavailable(self, what: str, error: BaseException) -> BrokerUnavailable:
        return self._outage.failed(
            BrokerUnavailable(f"PostgreSQL did not {what}: {describe(error)}")
        )

    # --- What is too old ------------------------------------------------------------

    def _receive_canary(self, canary: Canary) -> None:
        self._statements.seen = canary
        if canary.is_sweep_due:
            self._sweep_due.set()

    async def _sweep(self) -> None:
        """Remove what is too old, whenever no other worker has done it for a while."""
        while True:
            await self._sweep_due.wait()
            try:
                await self._sweep_once()
            except Outage as error:
                logger.warning("could not remove what is too old: %s", describe(error))
            except Exception:
                logger.exception("could not remove what is too old")
            self._sweep_due.clear()  # the next canary tells when it is time again

    async def _sweep_once(self) -> None:
        async with asyncio.timeout(SWEEP_DEADLINE):
            connection = await self._connect()
        try:
            is_more = True
            while is_more:
                async with asyncio.timeout(SWEEP_DEADLINE):
                    is_more = await self._statements.sweep(connection)
        finally:
            connection.terminate()


async def connect(url: str, statement_cache_size: int) -> asyncpg.Connection:
    """Connect to a server that takes writes. The caller sets the deadline."""
    return await asyncpg.connect(
        url,
        timeout=None,
        statement_cache_size=statement_cache_size,
        target_session_attrs="read-write",
    )


def check_name(channel: str) -> None:
    """Raise ValueError for a channel that can't be named in a notification."""
    if "\n" in channel or "\0" in channel or len(channel.encode()) > MAX_CHANNEL:
        raise ValueError(f"a channel has up to {MAX_CHANNEL} bytes, and no line breaks")
