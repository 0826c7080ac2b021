"""Messages between any number of processes, through Redis publish/subscribe.

Guarantees: publications of a channel reach every subscribed worker in order, once,
while its connection to Redis lives. What is published during an outage of that
connection is not heard, and shows as a gap in the offsets. Redis keeps the position
of a channel for a day after its last use; after that, and whenever Redis restarted,
the epoch changes.
"""

import asyncio
import contextlib
import logging
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from app import PROJECT_NAME
from app.broker.base import PUBLISH_DEADLINE, Backend, BrokerUnavailable, Publication
from app.protocol import Position

logger = logging.getLogger(__name__)

QUEUE_SIZE = 10_000
"""Publications that may wait to be distributed before reading from Redis waits."""

CANARY_INTERVAL = 1.0
"""Seconds between the messages that a worker sends itself through Redis."""

CANARY_DEADLINE = 5.0
"""Seconds without hearing one after which the connection is taken for dead."""

BACKOFF_BASE, BACKOFF_CAP = 0.1, 2.0
"""Seconds: the first and the longest ceiling of the wait before a reconnection."""

MAX_CONNECTIONS = 32
"""Connections to Redis per worker; a publish waits for one that is free."""

POSITION_SECONDS = 24 * 3600
"""How long Redis remembers where a channel stands."""

# What a broken connection, an unreachable server or one that is loading raises.
Outage = (RedisError, OSError, TimeoutError)


class RedisBackend(Backend):
    schemes = ("redis", "rediss")

    def __init__(self, url: str) -> None:
        super().__init__(url)
        # Reconnecting is the supervisor's work, and a publish that may have been
        # carried out must not be repeated behind its sender's back.
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=PUBLISH_DEADLINE,
            retry=Retry(NoBackoff(), retries=0, supported_errors=()),
            socket_connect_timeout=PUBLISH_DEADLINE,
            # Deadlines are ours. With one of its own, redis-py writes under asyncio.wait_for,
            # which loses cancellations before Python 3.12 (python/cpython#86296).
            socket_timeout=None,
            # With them, redis-py 8.1 hands out idle connections that the server closed.
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )
        self._redis = Redis.from_pool(pool)
        self._script = self._redis.register_script(
            files("app.broker").joinpath("redis.lua").read_text()
        )
        # Publish/subscribe ignores the database number, so the names carry it.
        database = pool.connection_kwargs.get("db", 0)
        self._prefix = f"{PROJECT_NAME}:{database}:"
        self._canary_channel = f"canary:{secrets.token_hex(8)}"
        self._published: asyncio.Queue[Publication] = asyncio.Queue(QUEUE_SIZE)
        self._wanted: dict[str, asyncio.Event] = {}  # channel -> Redis confirmed it
        self._unconfirmed: Counter[str] = Counter()
        self._pubsub: PubSub | None = None
        self._heard_at: float | None = None
        self._failed = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def alive(self) -> bool:
        if self._heard_at is None:
            return False
        return asyncio.get_running_loop().time() - self._heard_at < CANARY_DEADLINE

    async def connect(self) -> None:
        """Start to connect. An unreachable server is no error: it may come back."""
        self._tasks = [
            asyncio.create_task(self._supervise()),
            asyncio.create_task(self._send_canaries()),
        ]

    async def disconnect(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._redis.aclose()

    async def subscribe(self, channel: str) -> None:
        self._wanted[channel] = asyncio.Event()
        await self._send("SUBSCRIBE", channel)

    async def unsubscribe(self, channel: str) -> None:
        self._wanted.pop(channel, None)
        await self._send("UNSUBSCRIBE", channel)

    async def position(self, channel: str) -> Position:
        async with self._deadline("answer"):
            await self._wanted[channel].wait()
            epoch, offset = await self._run_script(channel, [])
        return Position(epoch=epoch.decode(), offset=offset)

    async def publish(self, channel: str, message: str) -> None:
        async with self._deadline("take the message"):
            await self._run_script(channel, [self._prefix + channel, message.encode()])

    async def next_published(self) -> Publication:
        return await self._published.get()

    async def _run_script(self, channel: str, publication: list[str | bytes]) -> tuple[bytes, int]:
        """The epoch and the offset of a channel, after publishing to it if so told."""
        epoch, offset = await self._script(
            keys=[f"{self._prefix}position:{channel}"],
            args=[secrets.token_hex(8), POSITION_SECONDS, *publication],
        )
        return epoch, offset

    @contextlib.asynccontextmanager
    async def _deadline(self, what: str) -> AsyncIterator[None]:
        """Raise BrokerUnavailable when Redis does not do it in time.

        In an outage only the first waits for it. A second for each of many requests
        would leave sockets unread until their keepalive fails.
        """
        if self._failed and not self.alive:
            raise BrokerUnavailable("Redis is out of reach")
        try:
            async with asyncio.timeout(PUBLISH_DEADLINE):
                yield
        except Outage as error:
            self._failed = True
            raise BrokerUnavailable(f"Redis did not {what}: {describe(error)}") from error
        self._failed = False

    async def _send(self, command: str, channel: str) -> None:
        """Change the subscription at once if connected; else connecting will do it."""
        if self._pubsub is None:
            return
        if command == "SUBSCRIBE":
            self._unconfirmed[channel] += 1
        try:
            async with asyncio.timeout(PUBLISH_DEADLINE):
                await self._pubsub.execute_command(command, self._prefix + channel)
        except Outage as error:
            # The reading side meets the same broken connection and mends it.
            logger.warning("Redis did not take %s: %s", command, describe(error))

    # --- The subscribing connection, owned by one task ----------------------------

    async def _supervise(self) -> None:
        """Keep a subscribing connection to Redis, for ever."""
        clock = asyncio.get_running_loop().time
        attempt = 0
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    await self._subscribe_all(pubsub)
                    connected_at = clock()
                    while (self._heard_at or connected_at) + CANARY_DEADLINE > clock():
                        message = await pubsub.get_message(timeout=CANARY_DEADLINE)
                        if message is not None:
                            await self._receive(message)
                            attempt = 0
                    raise TimeoutError(f"no canary for {CANARY_DEADLINE} seconds")
            except Outage as error:
                # Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
                ceiling = min(BACKOFF_CAP, BACKOFF_BASE * 2**attempt)
                attempt = min(attempt + 1, 16)
                delay = random.uniform(0, ceiling)  # noqa: S311
                # The first failure is news; the attempts that follow are not.
                level = logging.WARNING if attempt == 1 else logging.DEBUG
                logger.log(level, "no connection to Redis: %s", describe(error))
            except Exception:
                delay = BACKOFF_CAP
                logger.exception("the connection to Redis failed in a way not foreseen")
            finally:
                self._pubsub = None
                self._heard_at = None
                for confirmed in self._wanted.values():
                    confirmed.clear()
            await asyncio.sleep(delay)

    async def _subscribe_all(self, pubsub: PubSub) -> None:
        async with asyncio.timeout(CANARY_DEADLINE):
            await pubsub.connect()  # type: ignore[no-untyped-call]
            channels = list(self._wanted)
            self._unconfirmed = Counter(channels)
            self._pubsub = pubsub
            names = [self._prefix + channel for channel in channels]
            await pubsub.execute_command("SUBSCRIBE", self._prefix + self._canary_channel, *names)

    async def _receive(self, message: dict[str, Any]) -> None:
        channel = message["channel"].decode().removeprefix(self._prefix)
        if message["type"] == "subscribe":
            self._confirm(channel)
        elif message["type"] == "message" and channel == self._canary_channel:
            if self._heard_at is None:
                logger.info("connected to Redis")
            self._heard_at = asyncio.get_running_loop().time()
        elif message["type"] == "message":
            try:
                publication = decode(channel, message["data"])
            except ValueError as error:
                logger.warning("skipped what is no publication in %s: %s", channel, error)
            else:
                await self._published.put(publication)

    def _confirm(self, channel: str) -> None:
        """Redis answers in order, so the last answer that is due is the one that counts."""
        self._unconfirmed[channel] -= 1
        if self._unconfirmed[channel] <= 0:
            del self._unconfirmed[channel]
            if channel in self._wanted:
                self._wanted[channel].set()

    async def _send_canaries(self) -> None:
        """Publish what `alive` waits to hear."""
        while True:
            with contextlib.suppress(*Outage):  # silence is what tells
                async with asyncio.timeout(CANARY_DEADLINE):
                    await self._redis.publish(self._prefix + self._canary_channel, b"")
            await asyncio.sleep(CANARY_INTERVAL)


def decode(channel: str, data: bytes) -> Publication:
    """Read what `redis.lua` published. Raises ValueError when it is something else."""
    epoch, offset, message = data.decode().split(" ", 2)
    return Publication(channel, message, Position(epoch=epoch, offset=int(offset)))


def describe(error: Exception) -> str:
    """An error in words: some of those of asyncio and Redis have only a name."""
    return f"{type(error).__name__} {error}".strip()
