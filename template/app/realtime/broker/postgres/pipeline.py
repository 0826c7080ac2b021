"""Sends requests to PostgreSQL over one connection, all that wait in one statement."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import asyncpg

from app.realtime.broker.postgres.errors import Outage, Replaced

logger = logging.getLogger(__name__)

AT_ONCE = 256
"""Requests in one statement."""

BYTES_AT_ONCE = 1_048_576
"""Bytes of their messages after which a statement takes no more requests."""

TURNS = 3
"""Turns of the event loop for which the first request waits for others.

A turn takes microseconds. A transaction writes to the disk.
"""

MAX_WAITING = 10_000
MAX_WAITING_BYTES = 67_108_864
"""Requests that may wait to be sent, and bytes of their messages; one more fails at once."""

CANCEL_SECONDS = 1.0
"""Seconds after which a connection that did not answer in time is closed.

Until then asyncpg asks the server to stop. Without that, the server process would go on
waiting for whatever it waits for, and hold one of the server's connections.
"""

Row = tuple[Any, ...]

Connect = Callable[[], Awaitable[asyncpg.Connection]]

Run = Callable[[asyncpg.Connection, Sequence[Row]], Awaitable[Sequence[Any]]]
"""Runs a statement for requests. Returns an answer to each."""


class Waiting(NamedTuple):
    """A request that waits for its answer."""

    row: Row
    size: int
    answer: asyncio.Future[Any]
    expires_at: float


class Pipeline:
    """Sends requests in the order of their submission.

    A request that is not answered within `deadline` seconds fails, together with those that
    were sent with it. If only a quarter of the deadline is left when it can be sent, it
    fails alone. No request is sent twice, and none after one that was submitted later.
    """

    def __init__(self, connect: Connect, run: Run, deadline: float, at_once: int = AT_ONCE) -> None:
        self._connect = connect
        self._run = run
        self._deadline = deadline
        self._at_once = at_once
        self._connection: asyncpg.Connection | None = None  # once there was a request
        self._given_up: set[asyncpg.Connection] = set()
        self._waiting: deque[Waiting] = deque()
        self._waiting_bytes = 0
        self._something_waits = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send what is submitted, for the length of the block."""
        try:
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self._send())
                try:
                    yield
                finally:
                    sending.cancel()
        finally:
            for connection in (*self._given_up, self._connection):
                if connection is not None:
                    connection.terminate()
            self._given_up.clear()
            self._connection = None

    def submit(self, *row: Any, size: int = 0) -> asyncio.Future[Any]:
        """Send a request. The future gets the answer, or an error of `Outage`.

        `size` is that of its message, in bytes.
        """
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        if len(self._waiting) >= MAX_WAITING or self._waiting_bytes + size > MAX_WAITING_BYTES:
            answer.set_exception(ConnectionError("too many requests wait for PostgreSQL"))
            return answer
        self._waiting.append(Waiting(row, size, answer, loop.time() + self._deadline))
        self._waiting_bytes += size
        self._something_waits.set()
        return answer

    def reconnect(self) -> None:
        """Use another connection from now on."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _send(self) -> None:
        while True:
            await self._something_waits.wait()
            for _ in range(TURNS):
                await asyncio.sleep(0)
            batch = self._next_batch()
            if not self._waiting:
                self._something_waits.clear()
            if not batch:
                continue
            try:
                answers = await self._answers(batch)
            except Outage as error:
                answers = [error] * len(batch)
            except Exception:
                logger.exception("requests to PostgreSQL failed unexpectedly")
                self.reconnect()
                answers = [ConnectionError("the connection was given up")] * len(batch)
            for waiting, answer in zip(batch, answers, strict=True):
                if waiting.answer.done():
                    continue  # nobody waits any more
                if isinstance(answer, Exception):
                    waiting.answer.set_exception(answer)
                else:
                    waiting.answer.set_result(answer)

    def _next_batch(self) -> list[Waiting]:
        """What to send next, without requests that nobody waits for or that are too late."""
        latest = asyncio.get_running_loop().time() + self._deadline / 4
        batch: list[Waiting] = []
        size = 0
        while self._waiting and len(batch) < self._at_once and size < BYTES_AT_ONCE:
            waiting = self._waiting.popleft()
            self._waiting_bytes -= waiting.size
            if waiting.answer.done():
                continue
            if waiting.expires_at < latest:
                waiting.answer.set_exception(TimeoutError("too many requests wait for PostgreSQL"))
            else:
                batch.append(waiting)
                size += waiting.size
        return batch

    async def _answers(self, batch: Sequence[Waiting]) -> Sequence[Any]:
        try:
            async with asyncio.timeout_at(batch[0].expires_at):
                if self._connection is None or self._connection.is_closed():
                    self._connection = None
                    self._connection = await self._connect()
                return await self._run(self._connection, [waiting.row for waiting in batch])
        except asyncpg.PostgresError as error:
            if isinstance(error, Replaced):
                self.reconnect()
            raise
        except TimeoutError:
            self._give_up()
            raise
        except Outage:
            self.reconnect()
            raise

    def _give_up(self) -> None:
        """Close the connection when the server had the time to stop what it does."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._given_up.add(connection)
            asyncio.get_running_loop().call_later(CANCEL_SECONDS, self._close, connection)

    def _close(self, connection: asyncpg.Connection) -> None:
        self._given_up.discard(connection)
        connection.terminate()
