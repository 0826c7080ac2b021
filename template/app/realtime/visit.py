"""One socket of `/ws`: what its client sends, one message after the other, and its end."""

import asyncio
import logging
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI

from app.realtime.actions import Actions
from app.realtime.authentication import Authentication, Session
from app.realtime.connection import Connection
from app.realtime.limits import Admission, RateLimit, Verdict
from app.realtime.manager import ConnectionManager
from app.realtime.metrics import RATE_LIMITED
from app.realtime.parser import ClientMessage, ClientMessages, InvalidMessage, what_it_names
from app.realtime.protocol import CloseCode, Error, Member, Welcome
from app.realtime.server.interface import FrameWriter
from app.realtime.settings import RealtimeSettings

logger = logging.getLogger(__name__)

LEAVE_SECONDS = 1.0
"""How long a socket may take to leave its rooms at the end, once its handler is cancelled."""

AT_ONCE = 32
"""Messages of one client that are carried out before other tasks have their turn."""


class Visits:
    """What all sockets of `/ws` have in common in one application."""

    def __init__(
        self,
        app: FastAPI,
        manager: ConnectionManager,
        messages: ClientMessages,
        actions: Actions,
    ) -> None:
        self.app = app
        self.manager = manager
        self.messages = messages
        self.actions = actions
        self.settings: RealtimeSettings = app.state.settings
        self.authentication: Authentication = app.state.authentication
        self._tasks: set[asyncio.Task[None]] = set()

    def own(self, task: asyncio.Task[None]) -> None:
        """Wait for a task before the application ends."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """After the block, what sockets still do has SHUTDOWN_GRACE to end."""
        try:
            yield
        finally:
            await self._wait(self.settings.shutdown_grace or None)
            self._cancel()
            await self._wait(LEAVE_SECONDS)
            self._cancel()

    async def _wait(self, seconds: float | None) -> None:
        """Wait until nothing is left to do. A task may be followed by another one."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._tasks:
                    await asyncio.wait(self._tasks)

    def _cancel(self) -> None:
        for task in self._tasks:
            task.add_done_callback(log_where_it_was)
            task.cancel()


def log_where_it_was(task: asyncio.Task[None]) -> None:
    """Log the traceback of a task that did not end in time."""
    try:
        task.result()
    except asyncio.CancelledError:
        logger.exception("what a socket waits for did not end within SHUTDOWN_GRACE")
    except Exception:
        logger.exception("connection failed")


class Visit:
    """The `Receiver` of one socket.

    A message is carried out when its frame arrives. If that has to wait for something, such
    as history or a handler of the application, nothing more is read in the meantime, and
    messages that were read already wait as well. So each client's messages are carried out
    in their order, and a slow handler holds up nobody else.
    """

    __slots__ = (
        "_admission",
        "_connection",
        "_has_ended",
        "_in_a_row",
        "_is_gone",
        "_on_end",
        "_rate_limit",
        "_session",
        "_visits",
        "_waiting",
        "_work",
        "_writer",
    )

    def __init__(self, visits: Visits, connection: Connection, admission: Admission) -> None:
        self._visits = visits
        self._connection = connection
        self._admission = admission
        self._rate_limit = RateLimit(visits.settings.messages_per_second)
        self._writer: FrameWriter | None = None
        self._on_end: Callable[[], None] | None = None
        self._work: asyncio.Task[None] | None = None
        """What the current message waits in, if it has to wait."""
        self._waiting: deque[ClientMessage] | None = None
        """Messages behind it."""
        self._in_a_row = 0
        self._is_gone = False
        self._has_ended = False
        open_session = visits.authentication.open_session
        self._session: Session | None = None
        if open_session is not None:
            self._session = open_session(visits.app, connection.user, self._end_login)
        connection.on_close = self._closed
        visits.manager.sockets.add(connection)

    def start(self, writer: FrameWriter, on_end: Callable[[], None] | None = None) -> None:
        """Welcome the client."""
        connection = self._connection
        self._writer, self._on_end = writer, on_end
        connection.send(
            Welcome(
                connection=connection.id,
                user=Member.of(connection.user),
                heartbeat=self._visits.settings.ping_interval,
            )
        )
        connection.start(writer)
        if connection.is_closing:  # its login ended during the handshake
            self._end()

    # --- What arrives ---------------------------------------------------------------

    def receive(self, text: str | None) -> None:
        """Carry out a message, or have it wait for those before it."""
        if self._connection.is_closing:
            return
        message = self._read(text)
        if message is None:
            return
        if self._work is not None:
            self._waiting = self._waiting or deque()
            self._waiting.append(message)
        else:
            self._begin(message)

    def _read(self, text: str | None) -> ClientMessage | None:
        """Read a frame. Answers invalid messages, and those over the rate limit."""
        connection = self._connection
        if text is None:
            connection.close(CloseCode.UNSUPPORTED_DATA, "text frames only")
        elif self._is_within_limit(text):
            try:
                return self._visits.messages.parse(text)
            except InvalidMessage as error:
                connection.send(
                    Error(code=error.code, detail=error.detail, room=error.room, ref=error.ref)
                )
        return None

    def _is_within_limit(self, text: str) -> bool:
        verdict = self._rate_limit.take()
        if verdict is Verdict.FINE:
            return True
        if verdict is Verdict.ABUSE:
            self._connection.close(CloseCode.POLICY_VIOLATION, "too many messages")
            return False
        RATE_LIMITED.inc()
        most = self._visits.settings.messages_per_second
        detail = f"at most {most:g} messages a second: slow down"
        room, ref = what_it_names(text)
        self._connection.send(Error(code="rate_limited", detail=detail, room=room, ref=ref))
        return False

    def _begin(self, message: ClientMessage) -> None:
        """Carry out a message, as far as that is possible without waiting."""
        self._in_a_row += 1
        actions = self._visits.actions
        coroutine = actions.carry_out(message, self._connection, self._session)
        if self._in_a_row < AT_ONCE:
            work = run_at_once(coroutine)
        else:  # others have their turn first
            work = asyncio.get_running_loop().create_task(coroutine)
        if work.done():
            self._check(work)
            return
        if self._connection.is_closing:  # since a moment ago
            work.cancel()
        self._work = work
        self._in_a_row = 0
        if self._writer is not None:
            self._writer.pause_reading()
        work.add_done_callback(self._continue)
        self._visits.own(work)

    def _continue(self, work: asyncio.Task[None]) -> None:
        """Go on with the messages that waited."""
        self._work = None
        self._check(work)
        while self._waiting and self._work is None:
            self._begin(self._waiting.popleft())
        if self._work is not None:
            return
        if self._is_gone:
            self._end()
        elif self._writer is not None:
            self._writer.resume_reading()

    def _check(self, work: asyncio.Task[None]) -> None:
        """Close the socket if the engine failed."""
        if work.cancelled():
            return
        error = work.exception()
        if error is not None:
            logger.error("connection failed", extra=self._connection.log_fields, exc_info=error)
            self._connection.close(CloseCode.INTERNAL_ERROR, "internal error")

    # --- The end --------------------------------------------------------------------

    def disconnected(self) -> None:
        """End, after the messages that have arrived."""
        if not self._is_gone:
            self._is_gone = True
            if self._work is None:
                self._end()

    def _end_login(self, reason: str) -> None:
        self._connection.close(CloseCode.UNAUTHENTICATED, reason)

    def _closed(self) -> None:
        """End now: the server closes the socket."""
        self._is_gone = True
        if self._waiting:
            self._waiting.clear()
        if self._work is not None:
            self._work.cancel()
        else:
            self._end()

    def _end(self) -> None:
        if self._has_ended or self._writer is None:
            return
        self._has_ended = True
        self._visits.own(asyncio.create_task(self._leave()))

    async def _leave(self) -> None:
        connection = self._connection
        if self._session is not None:
            self._session.stop()
        self._visits.manager.sockets.discard(connection)
        self._admission.release()
        try:
            await self._visits.manager.disconnect(connection)
            await connection.send_close()
        except Exception:
            logger.exception("connection failed", extra=connection.log_fields)
        finally:
            if self._on_end is not None:
                self._on_end()


def run_at_once(coroutine: Coroutine[None, None, None]) -> asyncio.Task[None]:
    """Start a task now rather than in the next turn of the event loop.

    Most of them end without waiting for anything. Before Python 3.12, a task starts in the
    next turn.
    """
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        return asyncio.Task(coroutine, loop=loop, eager_start=True)
    return loop.create_task(coroutine)
