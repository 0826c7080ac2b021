"""Notifications of PostgreSQL, which survive a lost connection.

All channels share one notification channel, so every worker hears of everything and skips
what nobody here has subscribed.
"""

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import AsyncIterator, Callable, Mapping

import asyncpg

from app.realtime.broker.base import Listener, Resubscribed
from app.realtime.broker.postgres.errors import (
    ADVICE,
    Misconfigured,
    Missing,
    Outage,
    Unreachable,
    advise,
)
from app.realtime.broker.postgres.notifications import Held, Reference, decode
from app.realtime.broker.postgres.pipeline import Connect, Pipeline
from app.realtime.broker.postgres.schema import create_schema
from app.realtime.broker.postgres.statements import Canary
from app.realtime.metrics import BROKER_RECONNECTS, POISON

logger = logging.getLogger(__name__)

CANARY_INTERVAL = 1.0
"""Seconds between the messages that a worker sends to itself through PostgreSQL."""

CANARY_DEADLINE = 5.0
"""Seconds without receiving one, after which the connection counts as dead."""

BACKOFF_BASE, BACKOFF_CAP = 0.1, 2.0
"""Seconds: the first and the highest upper bound of the wait before a reconnection."""

QUEUE_WARNING = 0.25
"""Above this share of the queue of NOTIFY, the operator is warned."""


class Subscriptions:
    """The channels that are subscribed, and subscribed again after every outage.

    One task owns the connection that listens. It is alive while the worker receives its own
    canary, and while PostgreSQL writes what a canary writes. A server that is read-only
    refuses that, and so does one where a right is missing.
    """

    def __init__(
        self,
        schema: str,
        connect: Connect,
        writes: Pipeline,
        *,
        reads: Pipeline,
        large: Pipeline,
        deliver: Listener,
        receive_canary: Callable[[Canary], None],
    ) -> None:
        """`connect` opens the connection that listens, and `writes` sends the canaries. The first
        one after an outage follows a reading of history, without which no room can be joined.

        `deliver` is called with publications, and with `Resubscribed` for each channel after
        an outage. `receive_canary` is called with PostgreSQL's answers to canaries.
        """
        self._schema = schema
        self._connect = connect
        self._writes = writes
        self._reads = reads
        self._deliver = deliver
        self._receive_canary = receive_canary
        self._held = Held(large, deliver)
        self._worker = secrets.token_hex(8)
        self._canary_due = asyncio.Event()
        self._wanted: dict[str, asyncio.Event] = {}  # channel -> it is sure to be heard
        self._interrupted: set[str] = set()  # confirmed before, and to be again
        self._unconfirmed: dict[str, asyncio.Event] = {}
        self._wake = asyncio.Event()
        self._silence: asyncio.Timeout | None = None
        self._is_listening = False
        self._heard_at: float | None = None
        self._is_refused = False
        self._is_queue_full = False
        self._last_error = ""
        self._connects = 0
        self.has_tables = asyncio.Event()
        """Set once the tables are there."""

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

    def add(self, channel: str) -> None:
        """Subscribe to a channel."""
        self._wanted[channel] = self._unconfirmed[channel] = asyncio.Event()
        self._wake.set()

    def remove(self, channel: str) -> None:
        """Unsubscribe from a channel."""
        self._wanted.pop(channel, None)
        self._interrupted.discard(channel)
        self._unconfirmed.pop(channel, None)
        self._held.drop(channel)

    def confirmed(self, channel: str) -> asyncio.Event:
        """Set while everything that is published on a channel is sure to be received."""
        return self._wanted[channel]

    # --- The connection, owned by one task ------------------------------------------

    async def _supervise(self) -> None:
        """Keep a listening connection to PostgreSQL, for ever."""
        attempt = 0
        while True:
            connects, delay = self._connects, BACKOFF_CAP
            try:
                await self._listen()
            except (*Outage, Misconfigured) as error:
                if self._connects > connects:
                    attempt = 0
                # Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
                ceiling = min(BACKOFF_CAP, BACKOFF_BASE * 2**attempt)
                attempt = min(attempt + 1, 16)
                delay = random.uniform(0, ceiling)  # noqa: S311
                self._log(error, is_first=attempt == 1)
            except Exception:
                logger.exception("the connection to PostgreSQL failed unexpectedly")
            await asyncio.sleep(delay)

    def _log(self, error: BaseException, *, is_first: bool) -> None:
        """Only the first failure of an outage is news, and what the operator has to change."""
        sentence = advise(error)
        is_for_operator = isinstance(error, (*ADVICE, Misconfigured))
        is_new = is_for_operator and sentence != self._last_error
        self._last_error = sentence if is_for_operator else self._last_error
        level = logging.WARNING if is_first or is_new else logging.DEBUG
        logger.log(level, "no connection to PostgreSQL: %s", sentence)

    async def _listen(self) -> None:
        """Connect and listen, until the connection ends or nothing is heard on it."""
        async with asyncio.timeout(CANARY_DEADLINE):
            connection = await self._connect()
        try:
            connection.add_termination_listener(lambda _: self._wake.set())
            async with asyncio.timeout(CANARY_DEADLINE):
                await create_schema(connection, self._schema)
                self.has_tables.set()
                await connection.add_listener(self._schema, self._receive)
            self._unconfirmed.clear()
            self._confirm(self._wanted.copy())
            self._is_listening = True
            self._canary_due.set()
            async with asyncio.timeout(CANARY_DEADLINE) as self._silence:
                while self.has_tables.is_set():
                    await self._wake.wait()
                    self._wake.clear()
                    await self._probe(connection)
            raise ConnectionError("somebody dropped the tables")
        finally:
            self._is_listening = False
            self._silence = None
            self._heard_at = None
            self._interrupted |= {c for c, confirmed in self._wanted.items() if confirmed.is_set()}
            for confirmed in self._wanted.values():
                confirmed.clear()
            self._held.clear()
            connection.terminate()

    async def _probe(self, connection: asyncpg.Connection) -> None:
        """Have the server answer, after it sent everything that was published until now."""
        if connection.is_closed():
            raise ConnectionError("the connection was closed")
        if not self._unconfirmed and not self._is_refused:
            return
        unconfirmed, self._unconfirmed = self._unconfirmed, {}
        await connection.execute("SELECT 1")
        self._confirm(unconfirmed)
        if self._is_refused:  # the connection itself is fine
            self._end_silence()

    def _confirm(self, channels: Mapping[str, asyncio.Event]) -> None:
        """What is published from now on is heard, unless it was unsubscribed meanwhile."""
        for channel, confirmed in channels.items():
            if self._wanted.get(channel) is not confirmed:
                continue
            confirmed.set()
            if channel in self._interrupted:
                self._interrupted.remove(channel)
                self._deliver(Resubscribed(channel))

    def _receive(self, _: object, __: int, ___: str, payload: str) -> None:
        """Handle a notification."""
        channel, _separator, text = payload.partition("\n")
        confirmed = self._wanted.get(channel)
        if confirmed is None or not confirmed.is_set():
            if channel == self._worker and text == "c":
                self._receive_own_canary()
            return
        try:
            event = decode(channel, text)
        except ValueError:
            POISON.inc()
            logger.warning("skipped a malformed publication in %s", channel)
            return
        if isinstance(event, Reference) or channel in self._held:
            self._held.add(channel, event)
        else:
            self._deliver(event)

    # --- Canaries -------------------------------------------------------------------

    def _receive_own_canary(self) -> None:
        if not self._is_listening:
            return  # it comes from a connection that was given up
        if self._heard_at is None:
            logger.info("connected to PostgreSQL")
            BROKER_RECONNECTS.inc(self._connects > 0)
            self._connects += 1
            self._last_error = ""
        self._heard_at = asyncio.get_running_loop().time()
        self._end_silence()

    def _end_silence(self) -> None:
        if self._silence is not None and not self._silence.expired():
            self._silence.reschedule(asyncio.get_running_loop().time() + CANARY_DEADLINE)

    async def _send_canaries(self) -> None:
        """Publish canaries, and the first one as soon as it can be received."""
        while True:
            try:
                await self._send_canary()
            except Outage:
                pass  # the missing canary tells
            except Exception:
                logger.exception("a canary failed unexpectedly")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CANARY_INTERVAL):
                    await self._canary_due.wait()
            self._canary_due.clear()

    async def _send_canary(self) -> None:
        try:
            if self._heard_at is None:
                await self._reads.submit(self._worker, "", 0, 0, None, "")
            canary = await self._writes.submit(self._worker, None, None, None, "", 0)
        except Unreachable:
            raise
        except asyncpg.PostgresError as error:
            if not self._is_refused:
                logger.warning("PostgreSQL does not take messages: %s", advise(error))
            self._is_refused = True
            if isinstance(error, Missing):
                self.has_tables.clear()
            self._wake.set()
            return
        if self._is_refused:
            logger.info("PostgreSQL takes messages again")
        self._is_refused = False
        if canary.queue > QUEUE_WARNING and not self._is_queue_full:
            logger.warning(
                "the queue of NOTIFY is %.0f %% full: a connection that listens does not read. "
                "When it is full, PostgreSQL takes no messages",
                100 * canary.queue,
            )
        self._is_queue_full = canary.queue > QUEUE_WARNING
        self._receive_canary(canary)
