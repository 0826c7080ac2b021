"""One Redis, with the connections that a worker has to it."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, NamedTuple

from redis.asyncio import BlockingConnectionPool
from redis.exceptions import MovedError

from app.realtime.broker.base import PUBLISH_DEADLINE, BrokerUnavailable, Listener
from app.realtime.broker.outage import OutageGuard, describe
from app.realtime.broker.redis.errors import Outage, explain
from app.realtime.broker.redis.names import POSITION_SECONDS
from app.realtime.broker.redis.pipeline import Pipeline, Script
from app.realtime.broker.redis.subscriptions import Names, Subscriptions

ANNOUNCE_WITHIN = 2.0
"""Seconds in which the workers of a Redis Cluster begin to announce a new master."""

ANNOUNCE_AGAIN = 1.0
"""Seconds until it is tried again, if the server did not answer."""

ANNOUNCED_AT_ONCE, ANNOUNCE_PAUSE = 16, 0.01
"""Buckets, and the seconds between so many, in which others have their turn."""


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
        self.outage = OutageGuard(server, lambda: self.alive)
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
        self._run = b""
        self._announced: set[Bucket] = set()
        self._is_news = asyncio.Event()

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
            announcing = asyncio.create_task(self._announce_runs())
            try:
                yield
            finally:
                announcing.cancel()
                await asyncio.gather(announcing, return_exceptions=True)

    def _connected(self, run: bytes) -> None:
        if run != self._run:
            self._run = run
            self._announced.clear()
            self._is_news.set()

    def gained(self) -> None:
        """This Redis has got buckets that another one had."""
        self._is_news.set()

    async def _announce_runs(self) -> None:
        """Have every bucket notice each other run of the server that has it.

        If a bucket is not used while a replica has taken over, a later restart tells nothing:
        the server keeps what it has, and nobody knows any more that it may lack something.
        """
        while True:
            await self._is_news.wait()
            self._is_news.clear()
            run, current = self._run, self._buckets()
            self._announced.intersection_update(current)
            buckets = [it for it in current if it not in self._announced]
            if not (run and buckets):
                continue
            try:
                await self._announce(run, buckets)
            except Outage:
                await asyncio.sleep(ANNOUNCE_AGAIN)
                self._is_news.set()
            else:
                self._announced.update(buckets if run == self._run else ())

    async def _announce(self, run: bytes, buckets: Sequence[Bucket]) -> None:
        """Of many workers that come at once, the first one does it for all."""
        first = buckets[0]
        if len(buckets) > 1:
            await asyncio.sleep(random.uniform(0, ANNOUNCE_WITHIN))  # noqa: S311
            key = f"{first.prefix}epoch"
            if await self.reads.submit("HGET", key, "announced", slot=first.slot) == run:
                return
        for start in range(0, len(buckets), ANNOUNCED_AT_ONCE):
            some = buckets[start : start + ANNOUNCED_AT_ONCE]
            await asyncio.gather(*(self._begin_epoch(bucket) for bucket in some))
            await asyncio.sleep(ANNOUNCE_PAUSE)
        if len(buckets) > 1:
            await self.reads.submit("HSET", key, "announced", run, slot=first.slot)

    def _begin_epoch(self, bucket: Bucket) -> asyncio.Future[Any]:
        """Have a bucket begin an epoch if it belonged to another run that may have lost some."""
        arguments = (secrets.token_hex(8), POSITION_SECONDS, 0, 0, "", 0, 0)
        key, digest = f"{bucket.prefix}epoch", self._scripts.epoch.digest
        return self.reads.submit("EVALSHA", digest, 1, key, *arguments, slot=bucket.slot)

    def unavailable(self, what: str, error: BaseException) -> BrokerUnavailable:
        """The error that says what this Redis did not do. The first one is logged."""
        reason = explain(error, self._user) or describe(error)
        self._troubled()
        return self.outage.failed(BrokerUnavailable(f"{self._server} did not {what}: {reason}"))


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
