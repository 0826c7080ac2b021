"""The connection to the server: one socket at a time, and another after each.

    connecting ──▶ open        the server has sent its welcome
       ▲  │          │
       │  ▼          ▼
      waiting ◀──────┤         until the next attempt
          │          ▼
          └──────▶ ended

It ends when the close code is final, or when the server does not accept the credentials.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum, auto
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from client.backoff import backoff
from client.codes import MESSAGE_TOO_BIG, Retry, close_code
from client.credentials import Credentials, server_of
from client.errors import ConnectionEnded, Unauthenticated
from client.frames import PING, code_of, is_answer_to_ping, read, send, why
from client.heartbeat import Heartbeat
from client.messages import Member
from client.pace import Pace
from client.rooms import Rooms

SUBPROTOCOL = Subprotocol("realtime.v1")

HANDSHAKE_TIMEOUT = 10.0
"""Seconds that the server may take to open a socket, and again until its welcome."""

STABLE = 10.0
"""After a connection that lasted so many seconds, the backoff starts again at zero."""

MAX_FRAME = 16 * 1024 * 1024
"""The largest message of the server, in bytes: a page of a hundred large messages fits."""

UNREACHABLE = "The server can't be reached"
SILENT = "The server does not answer."

logger = logging.getLogger("client")


class State(StrEnum):
    CONNECTING = auto()
    OPEN = auto()
    WAITING = auto()
    ENDED = auto()


@dataclass(frozen=True)
class Status:
    """Where the connection stands. `reason` is a sentence for people."""

    state: State
    reason: str = ""
    retry_at: float | None = None
    """When the next attempt begins, by `time.monotonic()`."""


class Connection:
    """Connects, and again after each connection, until that has no use any more."""

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        *,
        messages_per_second: float,
        inbox_size: int,
        on_change: Callable[[], None],
    ) -> None:
        """Raises ValueError for a bad address."""
        self.status = Status(State.CONNECTING)
        self._server = server_of(url)
        self._url = url
        self._credentials = credentials
        self._on_change = on_change
        self._pace = Pace(messages_per_second)
        self._heartbeat: Heartbeat | None = None
        self._try_now = asyncio.Event()
        self._failures = 0
        self._rejections = 0
        """How often the server refused the credentials since the last welcome."""
        self._was_open = False
        self.rooms = Rooms(
            inbox_size=inbox_size,
            pace=self._pace,
            ping=self.check,
            check=self.check,
        )

    async def run(self) -> None:
        """Stay connected. Returns when the connection has ended for good."""
        while True:
            self._become(State.CONNECTING)
            try:
                reason = await self._connect()
            except ConnectionEnded as end:
                self._become(State.ENDED, str(end))
                self.rooms.end(end, end)
                return
            delay = backoff(self._failures)
            self._failures += 1
            logger.info("%s Next attempt in %.1f s.", reason, delay)
            self._become(State.WAITING, reason, time.monotonic() + delay)
            await self._sleep(delay)

    def check(self) -> None:
        """Find out whether the server still answers."""
        if self._heartbeat is not None:
            self._heartbeat.check()

    def try_now(self) -> None:
        """Don't wait any longer for the next attempt."""
        self._try_now.set()

    async def _sleep(self, seconds: float) -> None:
        self._try_now.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._try_now.wait()
        except TimeoutError:
            pass

    async def _connect(self) -> str:
        """Open a socket and use it. Returns why to try again; raises ConnectionEnded."""
        opened_at = None
        try:
            handshake = await self._credentials.handshake(self._server)
            query = f"?{urlencode(handshake.query)}" if handshake.query else ""
            async with open_socket(
                self._url + query,
                additional_headers=handshake.headers,
                subprotocols=[SUBPROTOCOL],
                open_timeout=HANDSHAKE_TIMEOUT,
                close_timeout=1,
                ping_interval=None,  # our own heartbeat also finds a server that does not read
                max_size=MAX_FRAME,
            ) as socket:
                if handshake.first_frame is not None:
                    await socket.send(json.dumps(handshake.first_frame))
                await self._welcome(socket)
                opened_at = time.monotonic()
                return await self._use(socket)
        except InvalidStatus as refusal:
            return self._refused(refusal.response.status_code)
        except ConnectionClosed as closed:
            return self._closed(closed)
        except TimeoutError:
            return SILENT
        except (OSError, InvalidHandshake, EOFError) as error:
            return f"{UNREACHABLE} ({why(error)})."
        finally:
            if opened_at is not None and time.monotonic() - opened_at > STABLE:
                self._failures = 0

    async def _welcome(self, socket: ClientConnection) -> None:
        """Wait for the first message of the server."""
        async with asyncio.timeout(HANDSHAKE_TIMEOUT):
            while (frame := read(await socket.recv())).get("type") != "welcome":
                logger.warning("the server said something before its welcome: %s", frame)
        self._rejections = 0
        self._was_open = True
        user = frame["user"]
        self._heartbeat = Heartbeat(float(frame["heartbeat"]), lambda: send(socket, PING))
        self._pace.start()
        self.rooms.welcomed(Member(user["id"], user["name"]))
        self._become(State.OPEN)

    async def _use(self, socket: ClientConnection) -> str:
        """Send and receive until the socket closes. Raises ConnectionClosed."""
        assert self._heartbeat is not None  # noqa: S101 - after the welcome there is one
        is_silent = False

        async def watch(heartbeat: Heartbeat) -> None:
            nonlocal is_silent
            try:
                await heartbeat.run()
            except TimeoutError:
                is_silent = True
                socket.transport.abort()

        try:
            async with asyncio.TaskGroup() as tasks:
                helpers = [
                    tasks.create_task(watch(self._heartbeat)),
                    tasks.create_task(self._send(socket)),
                    tasks.create_task(
                        self._credentials.while_open(
                            self._server, lambda message: send(socket, message)
                        )
                    ),
                ]
                closed = await self._receive(socket, self._heartbeat)
                if code_of(closed) == MESSAGE_TOO_BIG:
                    self.rooms.too_big()
                for helper in helpers:
                    helper.cancel()
        finally:
            self._heartbeat = None
            self.rooms.disconnected()
        return SILENT if is_silent else self._closed(closed)

    async def _receive(self, socket: ClientConnection, heartbeat: Heartbeat) -> ConnectionClosed:
        """Receive until the socket is closed. Returns how."""
        while True:
            try:
                frame = read(await socket.recv())
            except ConnectionClosed as closed:
                return closed
            heartbeat.heard()
            if is_answer_to_ping(frame):
                heartbeat.ponged()
            self.rooms.receive(frame)
            self._on_change()

    async def _send(self, socket: ClientConnection) -> None:
        """Send what there is to send, no faster than the server takes it."""
        while True:
            await self._pace.wait()
            self.rooms.wake.clear()
            frame = self.rooms.next()
            if frame is None:
                await self.rooms.wake.wait()
            else:
                self._pace.take()
                await send(socket, frame)

    def _refused(self, status: int) -> str:
        """The server answered the handshake with this HTTP status."""
        if status == 401:
            return self._rejected(status, "The server does not accept the credentials.")
        if status == 403:
            raise ConnectionEnded(status, "The server does not allow this connection.")
        if status in {408, 425, 429} or status >= 500 or self._was_open:
            return f"The server does not accept the connection at the moment (HTTP {status})."
        raise ConnectionEnded(status, f"There is no such server at this address (HTTP {status}).")

    def _closed(self, closed: ConnectionClosed) -> str:
        code = code_of(closed)
        reason = closed.rcvd.reason if closed.rcvd is not None else ""
        retry, sentence = close_code(code)
        if retry is Retry.ONCE:
            return self._rejected(code, reason or sentence)
        if retry is Retry.NO:
            raise ConnectionEnded(code, f"{sentence} ({reason})" if reason else sentence)
        return sentence

    def _rejected(self, code: int, reason: str) -> str:
        """The credentials may have expired. Try once with fresh ones."""
        self._rejections += 1
        if self._rejections > 1:
            raise Unauthenticated(code, reason)
        self._credentials.refused()
        return reason

    def _become(self, state: State, reason: str = "", retry_at: float | None = None) -> None:
        self.status = Status(state, reason, retry_at)
        self._on_change()
