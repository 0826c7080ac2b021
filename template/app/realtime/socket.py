"""Sockets of the application's own, within the engine's limits.

    @router.websocket("/ws/greet")
    async def greet(websocket: WebSocket, user: CurrentUser) -> None:
        async with open_socket(websocket, user) as socket:
            while True:
                name = await socket.receive()
                await socket.send(f"Hello {name}")

`app/routes/echo.py` is a complete example.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import WebSocket, WebSocketDisconnect

from app.realtime.authentication import Authentication, Session
from app.realtime.connection import REASONS
from app.realtime.identity import User
from app.realtime.limits import ConnectionLimits, RateLimit, Verdict
from app.realtime.manager import ConnectionManager
from app.realtime.metrics import CLOSED, RATE_LIMITED
from app.realtime.protocol import CloseCode, Error, Member, Welcome, to_json
from app.realtime.server.handshake import accept
from app.realtime.settings import RealtimeSettings


class Socket:
    """An accepted socket that sends and receives whatever the application wants."""

    def __init__(self, websocket: WebSocket, user: User, ends: asyncio.Timeout) -> None:
        settings: RealtimeSettings = websocket.app.state.settings
        self.id = secrets.token_hex(8)
        self.user = user
        self.close_reason: tuple[CloseCode, str] | None = None
        self._websocket = websocket
        self._rate_limit = RateLimit(settings.messages_per_second)
        self._ends = ends

    async def receive(self) -> str | bytes:
        """The next frame of the client. Raises WebSocketDisconnect when the client is gone.

        Frames over the rate limit are answered with `rate_limited` and skipped. A client
        that goes on is disconnected with 1008.
        """
        while True:
            frame = await self._websocket.receive()
            if frame["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(frame["code"])
            verdict = self._rate_limit.take()
            if verdict is Verdict.ABUSE:
                self.close(CloseCode.POLICY_VIOLATION, "too many messages")
                await asyncio.Event().wait()  # until the block is ended
            if verdict is Verdict.FINE:
                text: str | None = frame.get("text")
                data: bytes = frame.get("bytes") or b""
                return data if text is None else text
            RATE_LIMITED.inc()
            error = Error(code="rate_limited", detail="too many messages: slow down")
            await self.send(to_json(error).decode())

    async def send(self, frame: str | bytes) -> None:
        """Send a text or a binary frame. Waits while the client does not take it."""
        if isinstance(frame, str):
            await self._websocket.send_text(frame)
        else:
            await self._websocket.send_bytes(frame)

    async def send_json(self, value: object) -> None:
        """Send a value as JSON in a text frame."""
        await self._websocket.send_json(value)

    def close(self, code: CloseCode, reason: str) -> None:
        """End the block of `open_socket`, and close the socket with this code."""
        if self.close_reason is None:
            self.close_reason = code, reason
            self._ends.reschedule(asyncio.get_running_loop().time())


@asynccontextmanager
async def open_socket(websocket: WebSocket, user: User) -> AsyncIterator[Socket]:
    """Accept a socket and serve it during the block, after a `welcome`.

    Raises HTTPException before the socket is accepted, when there are too many
    (`MAX_CONNECTIONS` and the like). The block ends when the client disconnects, when
    its login ends (4401), when the application disconnects its user (4403) and when it
    sends too much (1008). `WebSocketDisconnect` leaves the block silently, also out of
    a task group.
    """
    state = websocket.app.state
    limits: ConnectionLimits = state.connection_limits
    manager: ConnectionManager = state.manager
    with limits.admit(websocket.client and websocket.client.host, user.id):
        await accept(websocket)
        is_served = False
        async with _until_closed(websocket, user) as socket:
            session = _open_session(websocket, socket)
            manager.sockets.add(socket)
            try:
                welcome = Welcome(connection=socket.id, user=Member.of(user), heartbeat=0)
                await socket.send(to_json(welcome).decode())
                is_served = True
                yield socket
            finally:
                manager.sockets.discard(socket)
                if session is not None:
                    session.stop()
        if not is_served:  # the client disconnected, or its login ended, before the welcome
            raise WebSocketDisconnect(1006)


@asynccontextmanager
async def _until_closed(websocket: WebSocket, user: User) -> AsyncIterator[Socket]:
    """A socket whose `close` ends the block."""
    ends = asyncio.timeout(None)
    socket = Socket(websocket, user, ends)
    try:
        async with ends:
            yield socket
    except TimeoutError:
        if socket.close_reason is None:
            raise
    except WebSocketDisconnect:
        return
    except BaseExceptionGroup as group:
        _, others = group.split(WebSocketDisconnect)
        if others is not None:
            raise others from None
        return
    if socket.close_reason is not None:
        code, reason = socket.close_reason
        CLOSED.labels(REASONS[code]).inc()
        with suppress(WebSocketDisconnect):
            await websocket.close(code, reason)


def _open_session(websocket: WebSocket, socket: Socket) -> Session | None:
    """Watch the login that opened a socket, if the style of authentication has logins."""
    authentication: Authentication = websocket.app.state.authentication
    if authentication.open_session is None:
        return None

    def end(reason: str) -> None:
        socket.close(CloseCode.UNAUTHENTICATED, reason)

    return authentication.open_session(websocket.app, socket.user, end)
