"""The servers that BROKER_URL names."""

import asyncio
import re
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool

from app.realtime.broker.base import Listener
from app.realtime.broker.redis.cluster import Cluster
from app.realtime.broker.redis.connections import Address, connection_pool, parse_target
from app.realtime.broker.redis.names import PLAIN, server_prefix
from app.realtime.broker.redis.node import Bucket, Node, Place, Scripts, Single
from app.realtime.broker.redis.sentinel import master_pool
from app.realtime.broker.redis.subscriptions import Names

SCHEMES = (
    "redis",
    "rediss",
    "redis+cluster",
    "rediss+cluster",
    "redis+sentinel",
    "rediss+sentinel",
)

REDIS_PORT, SENTINEL_PORT = 6379, 26379


class Servers(Protocol):
    """One Redis or several, on which every channel has a place."""

    @property
    def alive(self) -> bool: ...

    def running(self) -> AbstractAsyncContextManager[None]: ...

    def place(self, channel: str) -> Place:
        """Where a channel is. Raises BrokerUnavailable if nobody knows."""
        ...

    async def add(self, channel: str) -> None: ...

    async def remove(self, channel: str) -> None: ...

    def confirmed(self, channel: str) -> asyncio.Event:
        """Set while everything that is published on a channel is sure to be received."""
        ...


def open_servers(url: str, scripts: Scripts, deliver: Listener) -> Servers:
    """The servers of a URL, not yet connected. Raises ValueError for one that can't be used."""
    kind = urlsplit(url).scheme.partition("+")[2]
    if kind == "cluster":
        return open_cluster(url, scripts, deliver)
    pool = open_sentinel(url) if kind == "sentinel" else connection_pool(url)
    database = int(pool.connection_kwargs.get("db", 0))
    prefix = server_prefix(database)
    names = Names(lambda _channel: prefix, PLAIN)
    buckets = [Bucket(prefix, None)]
    return Single(Node(pool, scripts, names, deliver, buckets=lambda: buckets), prefix)


def open_sentinel(url: str) -> BlockingConnectionPool:
    target = parse_target(url, SENTINEL_PORT)
    found = re.fullmatch(r"/([^/]+)(/[0-9]*)?", target.path)
    if found is None:
        raise ValueError(
            "it has to name a master and may name a database, "
            "as in redis+sentinel://localhost:26379/mymaster/0"
        )
    return master_pool(target, found[1], found[2] or "")


def open_cluster(url: str, scripts: Scripts, deliver: Listener) -> Cluster:
    target = parse_target(url, REDIS_PORT)
    if target.path not in ("", "/", "/0") or target.options.get("db", "0") != "0":
        raise ValueError("a Redis Cluster has only the database 0")

    def make_pool(address: Address) -> BlockingConnectionPool:
        return connection_pool(target.url(address))

    return Cluster(target.addresses, make_pool, scripts, deliver)
