"""Subscriptions to Redis channels, which survive a lost connection."""

import asyncio
import contextlib
import logging
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from itertools import count

from broadcaster import Event
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from app.realtime.broker.base import PUBLISH_DEADLINE, Listener, Publication, Resubscribed
from app.realtime.broker.redis.pipeline import Outage, Pipeline, Script, describe
from app.realtime.metrics import BROKER_RECONNECTS, POISON
from app.realtime.protocol import Position

logger = logging.getLogger(__name__)

AT_ONCE = 100
"""Messages that are delivered before other tasks have their turn."""

CANARY_INTERVAL = 1.0
"""Seconds between the messages that a worker sends to itself through Redis."""

CANARY_DEADLINE = 5.0
"""Seconds without receiving one, after which the connection counts as dead."""

BACKOFF_BASE, BACKOFF_CAP = 0.1, 2.0
"""Seconds: the first and the highest upper bound of the wait before a reconnection."""


class Subscriptions:
    """The channels that are subscribed, and subscribed again after every outage.

    One task owns the connection and reads from it. The connection is alive while the
    worker receives its own canary, and while Redis carries out the write in the canary's
    script. A replica refuses that write, and so does a server whose memory is full.
    """

    def __init__(
        self,
        pool: BlockingConnectionPool,
        writes: Pipeline,
        canary: Script,
        prefix: str,
        deliver: Listener,
    ) -> None:
        """`writes` sends the canaries. `prefix` is the beginning of every name in Redis.

        `deliver` is called with publications, and with `Resubscribed` for each channel after
        an outage.
        """
        self._deliver = deliver
        self._pool = pool
        self._writes = writes
        self._canary = canary
        self._prefix = prefix
        self._canary_channel = f"canary:{secrets.token_hex(8)}"
        self._canary_due = asyncio.Event()
        self._wanted: dict[str, asyncio.Event] = {}  # channel -> Redis confirmed it
        self._interrupted: set[str] = set()  # confirmed before, and to be again
        self._unconfirmed: Counter[str] = Counter()
        self._connection: AbstractConnection | None = None
        self._heard_at: float | None = None
        self._is_refused = False
        self._connects = 0

    @property
    def alive(self) -> bool:
        if self._heard_at is None or self._is_refused:
            return False
        return asyncio.get_running_loop().time() - self._heard_at < CANARY_DEADLINE

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Stay connected for the length of the block."""
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

    async def add(self, channel: str) -> None:
        """Subscribe to a channel."""
        self._wanted[channel] = asyncio.Event()
        await self._send("SUBSCRIBE", channel)

    async def remove(self, channel: str) -> None:
        """Unsubscribe from a channel."""
        self._wanted.pop(channel, None)
        self._interrupted.discard(channel)
        await self._send("UNSUBSCRIBE", channel)

    def confirmed(self, channel: str) -> asyncio.Event:
        """Set while everything that is published on a channel is sure to be received."""
        return self._wanted[channel]

    async def _send(self, command: str, channel: str) -> None:
        """Change the subscription now if connected. Otherwise connecting does it."""
        if self._connection is None:
            return
        if command == "SUBSCRIBE":
            self._unconfirmed[channel] += 1
        try:
            async with asyncio.timeout(PUBLISH_DEADLINE):
                await self._connection.send_command(
                    command, self._prefix + channel, check_health=False
                )
        except Outage as error:
            # The reading task notices the broken connection too, and replaces it.
            logger.warning("Redis did not take %s: %s", command, describe(error))

    # --- The connection, owned by one task ------------------------------------------

    async def _supervise(self) -> None:
        """Keep a subscribing connection to Redis, for ever."""
        clock = asyncio.get_running_loop().time
        attempt = 0
        while True:
            try:
                async with self._connected() as connection:
                    async with asyncio.timeout(CANARY_DEADLINE) as silence:
                        for number in count(1):
                            # It does less for every publication than redis-py's PubSub.
                            message = await connection.read_response(
                                disconnect_on_error=False, push_request=True
                            )
                            if self._receive(message):
                                silence.reschedule(clock() + CANARY_DEADLINE)
                                attempt = 0
                            if number % AT_ONCE == 0:
                                await asyncio.sleep(0)
            except Outage as error:
                # Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
                ceiling = min(BACKOFF_CAP, BACKOFF_BASE * 2**attempt)
                attempt = min(attempt + 1, 16)
                delay = random.uniform(0, ceiling)  # noqa: S311
                # Only the first failure is news.
                level = logging.WARNING if attempt == 1 else logging.DEBUG
                logger.log(level, "no connection to Redis: %s", describe(error))
            except Exception:
                delay = BACKOFF_CAP
                logger.exception("the connection to Redis failed unexpectedly")
            await asyncio.sleep(delay)

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[AbstractConnection]:
        """A connection on which every channel is being subscribed."""
        async with asyncio.timeout(CANARY_DEADLINE):
            connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            channels = list(self._wanted)
            self._unconfirmed = Counter(channels)
            self._connection = connection
            names = [self._prefix + channel for channel in [self._canary_channel, *channels]]
            async with asyncio.timeout(CANARY_DEADLINE):
                await connection.send_command("SUBSCRIBE", *names, check_health=False)
            yield connection
        finally:
            self._connection = None
            self._heard_at = None
            self._interrupted |= {c for c, confirmed in self._wanted.items() if confirmed.is_set()}
            for confirmed in self._wanted.values():
                confirmed.clear()
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)

    def _receive(self, message: Sequence[bytes]) -> bool:
        """Handle what Redis sent. Returns whether it was the canary."""
        kind, name, payload = message
        channel = name.decode().removeprefix(self._prefix)
        if kind == b"message" and channel == self._canary_channel:
            if self._heard_at is None:
                logger.info("connected to Redis")
                BROKER_RECONNECTS.inc(self._connects > 0)
                self._connects += 1
            self._heard_at = asyncio.get_running_loop().time()
            return True
        if kind == b"message":
            try:
                event = decode(channel, payload)
            except ValueError:
                POISON.inc()
                logger.warning("skipped a malformed publication in %s", channel)
            else:
                self._deliver(event)
        elif kind == b"subscribe" and channel == self._canary_channel:
            self._canary_due.set()
        elif kind == b"subscribe":
            self._confirm(channel)
        return False

    def _confirm(self, channel: str) -> None:
        """Redis answers in order, so only the last of the missing answers counts."""
        self._unconfirmed[channel] -= 1
        if self._unconfirmed[channel] <= 0:
            del self._unconfirmed[channel]
            if channel in self._wanted:
                self._wanted[channel].set()
            if channel in self._interrupted:
                self._interrupted.remove(channel)
                self._deliver(Resubscribed(channel))

    async def _send_canaries(self) -> None:
        """Publish canaries, and the first one as soon as it can be received."""
        while True:
            with contextlib.suppress(*Outage):  # the missing canary tells
                await self._send_canary()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CANARY_INTERVAL):
                    await self._canary_due.wait()
            self._canary_due.clear()

    async def _send_canary(self) -> None:
        key, channel = self._prefix + "canary", self._prefix + self._canary_channel
        try:
            await self._writes.submit("EVALSHA", self._canary.digest, 1, key, channel)
        except ResponseError as error:
            if not self._is_refused:
                logger.warning("Redis does not take messages: %s", describe(error))
            self._is_refused = True
            # The connection itself is fine.
            await self._writes.submit("PUBLISH", channel, b"")
        else:
            if self._is_refused:
                logger.info("Redis takes messages again")
            self._is_refused = False


def decode(channel: str, data: bytes) -> Event:
    """Read a message: "epoch offset previous text". For a plain string, only text.

    Raises ValueError for anything else.
    """
    epoch, offset, previous, message = data.decode().split(" ", 3)
    if not (epoch or offset or previous):
        return Event(channel, message)
    position = Position(epoch=epoch, offset=int(offset))
    if not (epoch and 0 <= int(previous) < position.offset):
        raise ValueError("the offsets don't grow")
    return Publication(channel, message, position, int(previous))
