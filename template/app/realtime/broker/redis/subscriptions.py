"""Subscriptions to the channels of a Redis, which survive a lost connection."""

import asyncio
import contextlib
import logging
import random
import secrets
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from itertools import count
from typing import NamedTuple

from broadcaster import Event
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from app.realtime.broker.base import PUBLISH_DEADLINE, Listener, Publication, Resubscribed
from app.realtime.broker.outage import describe
from app.realtime.broker.redis.errors import Outage, explain
from app.realtime.broker.redis.names import PubSub, channel_of
from app.realtime.broker.redis.pipeline import Pipeline, Script, pack
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


class Names(NamedTuple):
    """How channels are called, and with which commands they are used."""

    prefix: Callable[[str], str]
    """The beginning of every name that belongs to a channel."""
    pubsub: PubSub


class Subscriptions:
    """The channels that are subscribed on one Redis, and subscribed again after every outage.

    One task owns the connection and reads from it. The connection is alive while the
    worker receives its own canary, and while Redis carries out the write in the canary's
    script. A replica refuses that write, and so does a server whose memory is full. The
    canary names the run of the server that took it: if the connection leads to another
    server, it is made again.
    """

    def __init__(
        self,
        pool: BlockingConnectionPool,
        pipelines: Sequence[Pipeline],
        scripts: tuple[Script, Script],
        names: Names,
        deliver: Listener,
        *,
        server: str = "Redis",
        canary_prefix: str = "",
        troubled: Callable[[], None] = lambda: None,
        connected: Callable[[bytes], None] = lambda _run: None,
    ) -> None:
        """The first pipeline sends the canaries. All reconnect when this connection does.

        The scripts are that of the canary, and the one that tells the run. `deliver` is
        called with publications, and with `Resubscribed` for each channel after an outage.
        `troubled` is called when another server may have taken over, `connected` with the
        run of the server when it is heard.
        """
        self._deliver = deliver
        self._pool = pool
        self._pipelines = pipelines
        self._writes = pipelines[0]
        self._canary, self._run_script = scripts
        self._names = names
        self._pubsub = names.pubsub
        self._server = server
        self._user = str(pool.connection_kwargs.get("username") or "default")
        self._troubled = troubled
        self._connected_to = connected
        self.canary_prefix = canary_prefix
        self._canary_channel = f"canary:{secrets.token_hex(8)}"
        self._canary_due = asyncio.Event()
        self._wanted: dict[str, asyncio.Event] = {}  # channel -> Redis confirmed it
        self._interrupted: set[str] = set()  # confirmed before, and to be again
        self._unconfirmed: Counter[str] = Counter()
        self._leaving: Counter[str] = Counter()  # unsubscribed, and not confirmed yet
        self._dropped: set[str] = set()  # by Redis, which moved their slot
        self._unsent: set[str] = set()  # to be subscribed
        self._something_unsent = asyncio.Event()
        self._connection: AbstractConnection | None = None
        self._run = b""  # of the server to which the connection leads
        self._heard_at: float | None = None
        self._is_refused = False
        self._explanation: str | None = None  # what the operator was told last
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
            asyncio.create_task(self._send_unsent()),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def add(self, channel: str, confirmed: asyncio.Event | None = None) -> None:
        """Subscribe to a channel. `confirmed` is set once that is done."""
        self._wanted[channel] = confirmed or asyncio.Event()
        if self._connection is not None:
            self._unconfirmed[channel] += 1
            await self._send(self._pubsub.subscribe, channel)

    async def remove(self, channel: str) -> None:
        """Unsubscribe from a channel."""
        self._forget(channel)
        if self._connection is not None:
            self._leaving[channel] += 1
            await self._send(self._pubsub.unsubscribe, channel)

    def confirmed(self, channel: str) -> asyncio.Event:
        """Set while everything that is published on a channel is sure to be received."""
        return self._wanted[channel]

    def adopt(self, channel: str, confirmed: asyncio.Event, *, was_confirmed: bool) -> None:
        """Subscribe to a channel that another server had, soon."""
        self._wanted[channel] = confirmed
        if was_confirmed:
            self._interrupted.add(channel)
        self._unsent.add(channel)
        self._something_unsent.set()

    def give_up(self, channel: str) -> bool:
        """Leave a channel to another server. Returns whether it was confirmed, now or before."""
        confirmed = self._wanted.get(channel)
        was_confirmed = channel in self._interrupted
        if confirmed is not None:
            was_confirmed = was_confirmed or confirmed.is_set()
            confirmed.clear()
        self._forget(channel)
        return was_confirmed

    def restore(self) -> None:
        """Subscribe again to what Redis dropped, and what nobody else has taken since."""
        self._unsent |= self._dropped
        self._dropped.clear()
        if self._unsent:
            self._something_unsent.set()

    def move_canary(self, prefix: str) -> None:
        """Send canaries under another prefix from now on, because their slot moved."""
        self.canary_prefix = prefix
        if self._connection is not None:
            self._heard_at = None
            self._unsent.add(self._canary_channel)
            self._something_unsent.set()

    def _forget(self, channel: str) -> None:
        self._wanted.pop(channel, None)
        self._interrupted.discard(channel)
        self._dropped.discard(channel)
        self._unsent.discard(channel)

    def _name(self, channel: str) -> str:
        if channel == self._canary_channel:
            return self.canary_prefix + channel
        return self._names.prefix(channel) + channel

    async def _send(self, command: str, channel: str) -> None:
        """Change the subscription now if connected. Otherwise connecting does it."""
        try:
            await self._send_packed([pack(command, self._name(channel))])
        except Outage as error:
            # The reading task notices the broken connection too, and replaces it.
            logger.warning("%s did not take %s: %s", self._server, command, describe(error))

    async def _send_packed(self, commands: Sequence[bytes]) -> None:
        if self._connection is not None:
            async with asyncio.timeout(PUBLISH_DEADLINE):
                await self._connection.send_packed_command(list(commands), check_health=False)

    def _subscribing(self, channels: Iterable[str]) -> list[bytes]:
        """The commands that subscribe to channels: in a Redis Cluster, one for each slot."""
        groups: defaultdict[str, list[str]] = defaultdict(list)
        for channel in channels:
            name = self._name(channel)
            groups[name.removesuffix(channel)].append(name)
        return [pack(self._pubsub.subscribe, *names) for names in groups.values()]

    async def _send_unsent(self) -> None:
        """Subscribe to channels that came from another server, all that wait at once."""
        while True:
            await self._something_unsent.wait()
            self._something_unsent.clear()
            if self._connection is None:
                continue  # connecting does it
            channels = sorted(self._unsent)
            self._unsent.clear()
            self._unconfirmed.update(channels)
            try:
                await self._send_packed(self._subscribing(channels))
            except Outage as error:
                logger.warning("%s takes no subscriptions: %s", self._server, describe(error))

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
                self._tell(error, is_first=attempt == 1)
                self._troubled()
            except Exception:
                delay = BACKOFF_CAP
                logger.exception("the connection to %s failed unexpectedly", self._server)
            await asyncio.sleep(delay)

    def _tell(self, error: BaseException, *, is_first: bool) -> None:
        """Log why there is no connection. Only the first failure is news, and what to correct."""
        explanation = explain(error, self._user)
        is_news = is_first or explanation not in (None, self._explanation)
        self._explanation = explanation
        level = logging.WARNING if is_news else logging.DEBUG
        logger.log(level, "no connection to %s: %s", self._server, explanation or describe(error))

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[AbstractConnection]:
        """A connection on which every channel is being subscribed."""
        async with asyncio.timeout(CANARY_DEADLINE):
            connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(CANARY_DEADLINE):
                await connection.send_command("EVAL", self._run_script.source, 0)
                self._run = await connection.read_response()
            channels = list(self._wanted)
            self._unconfirmed = Counter(channels)
            self._leaving.clear()
            self._dropped.clear()
            self._unsent.clear()
            self._connection = connection
            async with asyncio.timeout(CANARY_DEADLINE):
                commands = self._subscribing([self._canary_channel, *channels])
                await connection.send_packed_command(commands, check_health=False)
            yield connection
        finally:
            self._connection = None
            self._heard_at = None
            self._interrupted |= {c for c, confirmed in self._wanted.items() if confirmed.is_set()}
            for confirmed in self._wanted.values():
                confirmed.clear()
            for pipeline in self._pipelines:
                pipeline.reconnect()
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)

    def _receive(self, message: Sequence[bytes]) -> bool:
        """Handle what Redis sent. Returns whether it was the canary."""
        kind, name, payload = message
        channel = channel_of(name)
        pubsub = self._pubsub
        if channel == self._canary_channel:
            return self._receive_canary(kind, payload)
        if kind == pubsub.message:
            try:
                event = decode(channel, payload)
            except ValueError:
                POISON.inc()
                logger.warning("skipped a malformed publication in %s", channel)
            else:
                self._deliver(event)
        elif kind == pubsub.subscribed:
            self._confirm(channel)
        elif kind == pubsub.unsubscribed:
            self._unsubscribed(channel)
        return False

    def _receive_canary(self, kind: bytes, payload: bytes) -> bool:
        if kind == self._pubsub.subscribed:
            self._canary_due.set()
        if kind != self._pubsub.message:
            return False
        if payload and payload != self._run:
            raise ConnectionError("what is published comes from another server")
        if self._heard_at is None:
            logger.info("connected to %s", self._server)
            BROKER_RECONNECTS.inc(self._connects > 0)
            self._connects += 1
            self._explanation = None
            self._connected_to(self._run)
        self._heard_at = asyncio.get_running_loop().time()
        return True

    def _unsubscribed(self, channel: str) -> None:
        """Redis ended a subscription: as it was asked to, or because the slot moved."""
        if self._leaving[channel] > 0:
            self._leaving[channel] -= 1
            if not self._leaving[channel]:
                del self._leaving[channel]
            return
        confirmed = self._wanted.get(channel)
        if confirmed is not None:
            if confirmed.is_set():
                self._interrupted.add(channel)
                confirmed.clear()
            self._dropped.add(channel)
        self._troubled()

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
        key, channel = self.canary_prefix + "canary", self._name(self._canary_channel)
        publish = self._pubsub.publish
        try:
            await self._writes.submit("EVALSHA", self._canary.digest, 1, key, publish, channel)
        except ResponseError as error:
            self._troubled()
            if not self._is_refused:
                reason = explain(error, self._user) or describe(error)
                logger.warning("%s does not take messages: %s", self._server, reason)
            self._is_refused = True
            # The connection itself is fine.
            await self._writes.submit(publish, channel, b"")
        else:
            if self._is_refused:
                logger.info("%s takes messages again", self._server)
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
