"""One Redis, with the connections that a worker has to it."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import NamedTuple

from redis.asyncio import BlockingConnectionPool
from redis.exceptions import MovedError

from app.realtime.broker.base import PUBLISH_DEADLINE, BrokerUnavailable, Listener
from app.realtime.broker.redis.errors import describe, explain
from app.realtime.broker.redis.names import POSITION_SECONDS
from app.realtime.broker.redis.pipeline import Pipeline, Script
from app.realtime.broker.redis.subscriptions import Names, Subscriptions

logger = logging.getLogger(__name__)


class Scripts(NamedTuple):
    """What Redis carries out."""

    publish: Script
    history: Script
    page: Script
    canary: Script
    run: Script
    epoch: Script

    @classmethod
    def load(cls) -> "Scripts":
        return cls(
            publish=Script("position.lua", "publish.lua"),
            history=Script("position.lua", "history.lua"),
            page=Script("position.lua", "page.lua"),
            canary=Script("canary.lua"),
            run=Script("run.lua"),
            epoch=Script("position.lua", "epoch.lua"),
        )


class Bucket(NamedTuple):
    """Channels that share an epoch."""

    prefix: str
    """The beginning of the names of their keys."""
    slot: int | None
    """In a Redis Cluster."""


class Node:
    """A Redis that takes writes: one connection subscribes, one writes, one reads history."""

    def __init__(
        self,
        pool: BlockingConnectionPool,
        scripts: Scripts,
        names: Names,
        deliver: Listener,
        *,
        buckets: Callable[[], Sequence[Bucket]],
        server: str = "Redis",
        moved: Callable[[MovedError], None] | None = None,
        troubled: Callable[[], None] = lambda: None,
    ) -> None:
        """`buckets` are those that this Redis has. `server` is what the log calls it."""
        self._pool = pool
        self._server = server
        self._user = str(pool.connection_kwargs.get("username") or "default")
        self._troubled = troubled
        self._failed = False
        # History can be large. Publishing does not wait for it.
        self.writes = Pipeline(pool, scripts, PUBLISH_DEADLINE, moved)
        self.reads = Pipeline(pool, scripts, PUBLISH_DEADLINE, moved)
        self.subscriptions = Subscriptions(
            pool,
            (self.writes, self.reads),
            (scripts.canary, scripts.run),
            names,
            deliver,
            server=server,
            canary_prefix=buckets()[0].prefix,
            troubled=troubled,
            connected=self._connected,
        )
        self._scripts = scripts
        self._buckets = buckets
        self._known_run = b""

    @property
    def alive(self) -> bool:
        return self.subscriptions.alive

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Be connected for the length of the block."""
        async with (
            aclosing(self._pool),
            self.writes.running(),
            self.reads.running(),
            self.subscriptions.running(),
        ):
            yield

    def _connected(self, run: bytes) -> None:
        """Have every bucket know of another run of the server.

        Of a bucket that is not used while a replica has taken over, a later restart would
        tell nothing: the server keeps what it has, and nobody knows any more that it may
        have lacked something.
        """
        if run == self._known_run:
            return
        self._known_run = run
        for prefix, slot in self._buckets():
            arguments = (f"{prefix}epoch", secrets.token_hex(8), POSITION_SECONDS, 0, 0, "", 0, 0)
            answer = self.reads.submit(
                "EVALSHA", self._scripts.epoch.digest, 1, *arguments, slot=slot
            )
            answer.add_done_callback(self._touched)

    def _touched(self, answer: asyncio.Future[str]) -> None:
        if answer.cancelled() or answer.exception() is not None:
            self._known_run = b""  # so that it is tried again after the next connection

    def refuse_in_an_outage(self) -> None:
        """Raise BrokerUnavailable once it is known that this Redis is unreachable.

        Only the first request waits for the deadline. If each of many requests waited, the
        sockets would be left unread until their keepalive fails.
        """
        if self._failed and not self.alive:
            raise BrokerUnavailable(f"{self._server} is unreachable")

    def answered(self) -> None:
        """This Redis answered."""
        self._failed = False

    def unavailable(self, what: str, error: BaseException) -> BrokerUnavailable:
        """The error that says what this Redis did not do. The first one is logged."""
        reason = explain(error, self._user) or describe(error)
        unavailable = BrokerUnavailable(f"{self._server} did not {what}: {reason}")
        if not self._failed:
            logger.warning("%s", unavailable)
        self._failed = True
        self._troubled()
        return unavailable


class Place(NamedTuple):
    """Where a channel is."""

    node: Node
    prefix: str
    """The beginning of the names of its keys."""
    slot: int | None
    """In a Redis Cluster."""


class Single:
    """The one server of `redis://`, or the master that the Sentinels name."""

    def __init__(self, node: Node, prefix: str) -> None:
        self._node = node
        self._place = Place(node, prefix, None)

    @property
    def alive(self) -> bool:
        return self._node.alive

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._node.running():
            yield

    def place(self, channel: str) -> Place:  # noqa: ARG002 # all are there
        return self._place

    async def add(self, channel: str) -> None:
        await self._node.subscriptions.add(channel)

    async def remove(self, channel: str) -> None:
        await self._node.subscriptions.remove(channel)

    def confirmed(self, channel: str) -> asyncio.Event:
        return self._node.subscriptions.confirmed(channel)
