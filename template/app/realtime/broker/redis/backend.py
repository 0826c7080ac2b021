"""Messages between any number of processes, through Redis publish/subscribe.

Guarantees: the records of a channel reach every subscribed worker in order and once. One
script gives a record its offset, appends it to the channel's history and publishes it. So
everything that a subscriber receives is in the history, and what a worker missed during
an outage can be read from there. After an outage the backend returns `Resubscribed` for
every channel.

An offset is the time of its publication in microseconds, or one more than the one before
it if the clock is behind. So a channel that was forgotten never gives an offset twice.

Reading a channel stores nothing. Where a channel stands is remembered for a week after its
last publication: 340 bytes of Redis' memory for a room with a name of 20 characters, as
measured. Of channels whose history has expired, `MAX_POSITIONS` are remembered, which is
34 MB; those used longest ago are forgotten first.

All channels that begin in the same week share an epoch, and keep it for as long as Redis
knows their position. When a position of this epoch is forgotten before the week is over,
channels that begin later have another epoch. So no client takes what is forgotten for
received. The shared epoch also changes when Redis restarts without an append-only file and
when a replica takes over. A channel gets an epoch of its own when a worker has seen more
of it than Redis remembers.

Redis must not evict keys (`maxmemory-policy noeviction`, its default).

Redis 6.2 or later is needed.
"""

import asyncio
import logging
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from itertools import count
from math import ceil
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from app import PROJECT_NAME
from app.realtime.broker.base import (
    PUBLISH_DEADLINE,
    Backend,
    BrokerUnavailable,
    History,
    IdTaken,
    Page,
    Publication,
    Record,
)
from app.realtime.broker.redis.pipeline import Argument, Outage, Pipeline, Script, describe
from app.realtime.broker.redis.subscriptions import Subscriptions
from app.realtime.protocol import Position

logger = logging.getLogger(__name__)

POSITION_SECONDS = 7 * 24 * 3600
"""How long Redis remembers where a channel stands, unless its history lasts longer."""

MAX_POSITIONS = 100_000
"""Channels without a history of which Redis remembers where they stand."""


class RedisBackend(Backend):
    schemes = ("redis", "rediss")

    def __init__(
        self, url: str, history_size: int, history_seconds: float, history_bytes: int = 0
    ) -> None:
        super().__init__(url, history_size, history_seconds, history_bytes)
        self._pool = pool = connection_pool(url)
        self._publish = Script("position.lua", "publish.lua")
        self._history = Script("position.lua", "history.lua")
        self._page = Script("position.lua", "page.lua")
        canary = Script("canary.lua")
        scripts = (self._publish, self._history, self._page, canary)
        # History can be large. Publishing does not wait for it.
        self._writes = Pipeline(pool, scripts, PUBLISH_DEADLINE)
        self._reads = Pipeline(pool, scripts, PUBLISH_DEADLINE)
        # Publish/subscribe ignores the database number, so the names carry it.
        database = pool.connection_kwargs.get("db", 0)
        self._prefix = f"{PROJECT_NAME}:{database}:"
        self._subscriptions = Subscriptions(pool, self._writes, canary, self._prefix, self._deliver)
        # Each command carries a unique epoch, in case that one has to begin.
        self._worker = secrets.token_hex(8)
        self._commands = count()
        self._failed = False
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
            aclosing(self._pool),
            self._writes.running(),
            self._reads.running(),
            self._subscriptions.running(),
        ):
            yield

    async def _open(self, channel: str) -> None:
        await self._subscriptions.add(channel)

    async def _close(self, channel: str) -> None:
        await self._subscriptions.remove(channel)

    def submit(
        self, channel: str, message: str | Record, seen: Position | None = None
    ) -> asyncio.Future[Position | None]:
        self._refuse_in_an_outage()
        name = self._prefix + channel
        if isinstance(message, str):
            answer = self._writes.submit("PUBLISH", name, f"   {message}".encode())
        else:
            payload = message.message.encode()
            answer = self._writes.submit(
                *self._command(
                    self._publish, channel, seen, name, message.id, message.digest, payload
                )
            )
        taken: asyncio.Future[Position | None] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(partial(self._taken, message, taken))
        return taken

    def _taken(
        self,
        message: str | Record,
        taken: asyncio.Future[Position | None],
        answer: asyncio.Future[Any],
    ) -> None:
        """Pass on Redis' answer to whoever waits for `taken`."""
        position: Position | None = None
        error = answer.exception()
        if error is not None:
            error = self._unavailable("take the message", error)
        else:
            self._failed = False
            if isinstance(message, Record):
                epoch, offset, is_other = answer.result()
                position = Position(epoch=epoch.decode(), offset=int(offset))
                if is_other:
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
        wanted = {(position.epoch, position.offset) for position in after}
        arguments = [argument for position in wanted for argument in position]
        confirmed = self._subscriptions.confirmed(channel)
        if not confirmed.is_set():
            self._refuse_in_an_outage()
        try:
            async with asyncio.timeout(PUBLISH_DEADLINE):
                await confirmed.wait()
                command = self._command(self._history, channel, seen, last, *arguments)
                position, publications = read(channel, await self._reads.submit(*command))
        except Outage as error:
            raise self._unavailable("answer", error) from error
        self._failed = False
        return History(position, publications)

    async def page(self, channel: str, *, before: int | None, limit: int) -> Page:
        self._refuse_in_an_outage()
        bound = "" if before is None else str(before)
        command = self._command(self._page, channel, None, bound, limit + 1)
        try:
            async with asyncio.timeout(PUBLISH_DEADLINE):
                position, publications = read(channel, await self._reads.submit(*command))
        except Outage as error:
            raise self._unavailable("answer", error) from error
        self._failed = False
        return Page(position.epoch, publications[-limit:], complete=len(publications) <= limit)

    def _command(
        self, script: Script, channel: str, seen: Position | None, *arguments: Argument
    ) -> list[Argument]:
        """The command that runs a script on the keys of a channel."""
        keys = [f"{self._prefix}{kind}:{channel}" for kind in ("position", "history", "ids")]
        keys = [f"{self._prefix}epoch", *keys, f"{self._prefix}positions"]
        return [
            "EVALSHA",
            script.digest,
            len(keys),
            *keys,
            f"{self._worker}-{next(self._commands):x}",
            POSITION_SECONDS,
            self.history_size,
            ceil(self.history_seconds),
            seen.epoch if seen is not None else "",
            seen.offset if seen is not None else 0,
            MAX_POSITIONS,
            *arguments,
        ]

    def _refuse_in_an_outage(self) -> None:
        """Raise BrokerUnavailable once it is known that Redis is unreachable.

        Only the first request waits for the deadline. If each of many requests waited, the
        sockets would be left unread until their keepalive fails.
        """
        if self._failed and not self.alive:
            raise BrokerUnavailable("Redis is unreachable")

    def _unavailable(self, what: str, error: BaseException) -> BrokerUnavailable:
        unavailable = BrokerUnavailable(f"Redis did not {what}: {describe(error)}")
        if not self._failed:
            logger.warning("%s", unavailable)
        self._failed = True
        return unavailable


def read(channel: str, answer: Sequence[Any]) -> tuple[Position, list[Publication]]:
    """The answer of a script: where the channel stands, and publications, oldest first."""
    epoch = answer[0].decode()
    publications = [
        Publication(
            channel,
            message.decode(errors="replace"),
            Position(epoch=epoch, offset=int(offset)),
            int(previous),
        )
        for offset, previous, message in zip(answer[2::3], answer[3::3], answer[4::3], strict=True)
    ]
    return Position(epoch=epoch, offset=int(answer[1])), publications[::-1]


def connection_pool(url: str) -> BlockingConnectionPool:
    """Connections as this backend needs them. Raises ValueError for a URL that can't be used."""
    # The supervisor reconnects. A publish that may have been carried out must not be repeated
    # without the sender's knowledge.
    options: dict[str, Any] = {
        "max_connections": 3,  # one subscribes, one writes, one reads history
        "timeout": PUBLISH_DEADLINE,
        "retry": Retry(NoBackoff(), retries=0, supported_errors=()),
        "socket_connect_timeout": PUBLISH_DEADLINE,
        # Deadlines are ours. With one of its own, redis-py writes under asyncio.wait_for,
        # which loses cancellations before Python 3.12 (python/cpython#86296).
        "socket_timeout": None,
        "decode_responses": False,
        # With them, redis-py 8.1 hands out idle connections that the server closed.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    if not re.fullmatch(r"(/[0-9]*)?", urlsplit(url).path):  # to redis-py, database 0
        raise ValueError("a database has a number, as in redis://localhost:6379/0")
    for name in parse_url(url):  # which redis-py lets win
        if name in options:
            raise ValueError(f"{name} is not to be chosen")
    pool = BlockingConnectionPool.from_url(url, **options)
    try:
        pool.make_connection()  # type: ignore[no-untyped-call]
    except TypeError as error:  # its message ends with the name
        raise ValueError(f"there is no {str(error).split()[-1]}") from error
    return pool
