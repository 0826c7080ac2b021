"""Messages between any number of processes, through Redis publish/subscribe.

Guarantees: the records of a channel reach every subscribed worker in order, and each
once. One script gives a record its offset, appends it to the channel's history and
publishes it, so whatever was heard by anybody is in the history, and what a worker did
not hear during an outage can be read from there. After an outage the backend yields
`Resubscribed` for every channel.

Redis keeps a position for a week after its last use. The epoch changes after that, when
Redis restarts without an append-only file, when a replica takes over, and when a worker
has seen more than Redis remembers.
"""

import asyncio
import contextlib
import logging
import math
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from broadcaster import Event
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from app import PROJECT_NAME
from app.broker.base import (
    PUBLISH_DEADLINE,
    Backend,
    BrokerUnavailable,
    History,
    IdTaken,
    Publication,
    Record,
    Resubscribed,
)
from app.broker.redis_pipeline import Argument, Outage, Pipeline, Script
from app.metrics import BROKER_RECONNECTS, POISON
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

POSITION_SECONDS = 7 * 24 * 3600
"""How long Redis remembers where a channel stands."""


class RedisBackend(Backend):
    schemes = ("redis", "rediss")

    def __init__(self, url: str, history_size: int, history_seconds: float) -> None:
        super().__init__(url, history_size, history_seconds)
        # Reconnecting is the supervisor's work, and a publish that may have been
        # carried out must not be repeated behind its sender's back.
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=3,  # one subscribes, one writes, one reads history
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
        self._publish = Script(self._redis, "redis_position.lua", "redis_publish.lua")
        self._history = Script(self._redis, "redis_position.lua", "redis_history.lua")
        scripts = (self._publish, self._history)
        # History may be large, and publishing does not wait for it.
        self._writes = Pipeline(self._redis, scripts, PUBLISH_DEADLINE)
        self._reads = Pipeline(self._redis, scripts, PUBLISH_DEADLINE)
        # Publish/subscribe ignores the database number, so the names carry it.
        database = pool.connection_kwargs.get("db", 0)
        self._prefix = f"{PROJECT_NAME}:{database}:"
        self._canary_due = asyncio.Event()
        self._canary_channel = f"canary:{secrets.token_hex(8)}"
        self._published: asyncio.Queue[Event] = asyncio.Queue(QUEUE_SIZE)
        self._wanted: dict[str, asyncio.Event] = {}  # channel -> Redis confirmed it
        self._interrupted: set[str] = set()  # confirmed before, and to be again
        self._unconfirmed: Counter[str] = Counter()
        self._pubsub: PubSub | None = None
        self._heard_at: float | None = None
        self._failed = False
        self._connects = 0
        self._running = contextlib.AsyncExitStack()

    @property
    def alive(self) -> bool:
        if self._heard_at is None:
            return False
        return asyncio.get_running_loop().time() - self._heard_at < CANARY_DEADLINE

    async def connect(self) -> None:
        """Start to connect. An unreachable server is no error: it may come back."""
        await self._running.enter_async_context(self._tasks())

    async def disconnect(self) -> None:
        await self._running.aclose()

    @contextlib.asynccontextmanager
    async def _tasks(self) -> AsyncIterator[None]:
        async with self._redis, self._writes.running(), self._reads.running():
            tasks = [
                asyncio.create_task(self._supervise()),
                asyncio.create_task(self._send_canaries()),
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def subscribe(self, channel: str) -> None:
        self._wanted[channel] = asyncio.Event()
        await self._send("SUBSCRIBE", channel)

    async def unsubscribe(self, channel: str) -> None:
        self._wanted.pop(channel, None)
        self._interrupted.discard(channel)
        await self._send("UNSUBSCRIBE", channel)

    def submit(
        self, channel: str, message: str | Record, seen: Position | None = None
    ) -> asyncio.Future[None]:
        self._refuse_in_an_outage()
        name = self._prefix + channel
        if isinstance(message, str):
            answer = self._writes.submit("PUBLISH", name, f"  {message}".encode())
        else:
            payload = message.message.encode()
            answer = self._writes.submit(
                *self._command(
                    self._publish, channel, seen, name, message.id, message.digest, payload
                )
            )
        taken = asyncio.get_running_loop().create_future()
        answer.add_done_callback(partial(self._taken, message, taken))
        return taken

    def _taken(
        self, message: str | Record, taken: asyncio.Future[None], answer: asyncio.Future[Any]
    ) -> None:
        """Tell whoever waits for `taken` what Redis answered."""
        error = answer.exception()
        if error is not None:
            error = self._unavailable("take the message", error)
        else:
            self._failed = False
            if isinstance(message, Record) and answer.result():
                error = IdTaken(message.id)
        if taken.cancelled():
            return
        if error is None:
            taken.set_result(None)
        else:
            taken.set_exception(error)

    async def history(
        self, channel: str, *, last: int, after: int | None, seen: Position | None
    ) -> History:
        command = self._command(
            self._history, channel, seen, last, math.inf if after is None else after
        )
        confirmed = self._wanted[channel]
        if not confirmed.is_set():
            self._refuse_in_an_outage()
        try:
            async with asyncio.timeout(PUBLISH_DEADLINE):
                await confirmed.wait()
                epoch, offset, *messages = await self._reads.submit(*command)
        except Outage as error:
            raise self._unavailable("answer", error) from error
        self._failed = False
        position = Position(epoch=epoch.decode(), offset=offset)
        publications = [
            Publication(
                channel,
                message.decode(errors="replace"),
                Position(epoch=position.epoch, offset=offset - age),
            )
            for age, message in enumerate(messages)
        ]
        return History(position, publications[::-1])

    async def next_published(self) -> Event:
        return await self._published.get()

    def _command(
        self, script: Script, channel: str, seen: Position | None, *arguments: Argument
    ) -> list[Argument]:
        """What runs a script on the keys of a channel."""
        keys = [f"{self._prefix}{kind}:{channel}" for kind in ("position", "history", "ids")]
        return [
            "EVALSHA",
            script.digest,
            len(keys),
            *keys,
            secrets.token_hex(8),
            POSITION_SECONDS,
            self.history_size,
            math.ceil(self.history_seconds),
            seen.epoch if seen is not None else "",
            seen.offset if seen is not None else 0,
            *arguments,
        ]

    def _refuse_in_an_outage(self) -> None:
        """Raise BrokerUnavailable once it is known that Redis is out of reach.

        Only the first waits for the deadline. A second for each of many requests would
        leave sockets unread until their keepalive fails.
        """
        if self._failed and not self.alive:
            raise BrokerUnavailable("Redis is out of reach")

    def _unavailable(self, what: str, error: BaseException) -> BrokerUnavailable:
        self._failed = True
        return BrokerUnavailable(f"Redis did not {what}: {describe(error)}")

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
                    async with asyncio.timeout(CANARY_DEADLINE) as silence:
                        while True:
                            message = await pubsub.get_message(timeout=None)
                            if await self._receive(message):
                                silence.reschedule(clock() + CANARY_DEADLINE)
                                attempt = 0
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
                self._interrupted |= {
                    c for c, confirmed in self._wanted.items() if confirmed.is_set()
                }
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

    async def _receive(self, message: dict[str, Any]) -> bool:
        """Take what Redis sent; whether it was the canary."""
        channel = message["channel"].decode().removeprefix(self._prefix)
        if message["type"] == "subscribe" and channel == self._canary_channel:
            self._canary_due.set()
        elif message["type"] == "subscribe":
            await self._confirm(channel)
        elif message["type"] == "message" and channel == self._canary_channel:
            if self._heard_at is None:
                logger.info("connected to Redis")
                BROKER_RECONNECTS.inc(self._connects > 0)
                self._connects += 1
            self._heard_at = asyncio.get_running_loop().time()
            return True
        elif message["type"] == "message":
            try:
                event = decode(channel, message["data"])
            except ValueError:
                POISON.inc()
                logger.warning("skipped what is no publication in %s", channel)
            else:
                await self._published.put(event)
        return False

    async def _confirm(self, channel: str) -> None:
        """Redis answers in order, so the last answer that is due is the one that counts."""
        self._unconfirmed[channel] -= 1
        if self._unconfirmed[channel] <= 0:
            del self._unconfirmed[channel]
            if channel in self._wanted:
                self._wanted[channel].set()
            if channel in self._interrupted:
                self._interrupted.remove(channel)
                await self._published.put(Resubscribed(channel))

    async def _send_canaries(self) -> None:
        """Publish what `alive` waits to hear, and at once when it can be heard."""
        while True:
            with contextlib.suppress(*Outage):  # silence is what tells
                await self._writes.submit("PUBLISH", self._prefix + self._canary_channel, b"")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CANARY_INTERVAL):
                    await self._canary_due.wait()
            self._canary_due.clear()


def decode(channel: str, data: bytes) -> Event:
    """Read what was published: "epoch offset message", both empty for a mere string.

    Raises ValueError when it is something else.
    """
    epoch, offset, message = data.decode().split(" ", 2)
    if not epoch and not offset:
        return Event(channel, message)
    if int(offset) < 1:
        raise ValueError("offsets begin with 1")
    return Publication(channel, message, Position(epoch=epoch, offset=int(offset)))


def describe(error: BaseException) -> str:
    """An error in words: some of those of asyncio and Redis have only a name."""
    return f"{type(error).__name__} {error}".strip()
