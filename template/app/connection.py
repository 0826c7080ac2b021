"""One client's socket: what comes in, what waits to go out, and how it ends."""

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi import WebSocket, WebSocketDisconnect

from app.auth.identity import User
from app.protocol import (
    SUBPROTOCOL,
    ClientMessage,
    CloseCode,
    Error,
    Frame,
    InvalidMessage,
    ServerMessage,
    encode,
    parse_client_message,
)
from app.settings import Settings

logger = logging.getLogger(__name__)


async def accept(websocket: WebSocket) -> None:
    """Accept a handshake, with this protocol's name if the client offered it."""
    offered = websocket.scope["subprotocols"]
    await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)


class Connection:
    """An accepted socket, with a bounded outbox.

    Reading and writing are two tasks: uvicorn sees pings and closes only while
    somebody reads, and a client that does not read must hold up nobody but
    itself. `send` never waits. When the outbox is full, the client is too slow:
    its outbox is dropped and the socket closed with 1013.
    """

    def __init__(self, websocket: WebSocket, user: User, settings: Settings) -> None:
        self.id = secrets.token_hex(8)
        self.user = user
        self.rooms: set[str] = set()
        self._websocket = websocket
        self._max_messages = settings.outbox_messages
        self._max_bytes = settings.outbox_bytes
        # A peer that does not take the close frame in this time is left to TCP.
        self._close_timeout = settings.ping_timeout or None
        self._outbox: deque[Frame] = deque()
        self._outbox_bytes = 0
        self._outbox_filled = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._close_reason: tuple[CloseCode, str] | None = None

    @property
    def is_closing(self) -> bool:
        return self._close_reason is not None

    def send(self, message: ServerMessage) -> None:
        """Encode a message and put it into the outbox."""
        self.send_frame(encode(message))

    def send_frame(self, frame: Frame) -> None:
        """Put an encoded message into the outbox."""
        if self.is_closing:
            return
        self._outbox.append(frame)
        self._outbox_bytes += frame.size
        if (self._max_messages and len(self._outbox) > self._max_messages) or (
            self._max_bytes and self._outbox_bytes > self._max_bytes
        ):
            self.close(CloseCode.TRY_AGAIN_LATER, "too slow")
        self._outbox_filled.set()

    def close(self, code: CloseCode, reason: str) -> None:
        """Stop serving the socket and close it; what waits in the outbox is dropped."""
        if self._close_reason is None:
            self._close_reason = (code, reason)
            self._outbox.clear()
            self._outbox_bytes = 0
            if self._reader is not None:
                self._reader.cancel()

    async def serve(self, handle: Callable[[ClientMessage], Awaitable[None]]) -> None:
        """Hand every message to `handle`, one after the other, until the socket ends."""
        if self.is_closing:
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(self._write())
                self._reader = tasks.create_task(self._read(handle))
                self._reader.add_done_callback(lambda _: writer.cancel())
        except Exception:
            logger.exception("connection %s failed", self.id)
            self.close(CloseCode.INTERNAL_ERROR, "internal error")
        finally:
            self._reader = None

    async def send_close(self) -> None:
        """Tell the peer why, if it was this side that closed."""
        if self._close_reason is None:
            return
        code, reason = self._close_reason
        logger.info("closing connection %s: %d %s", self.id, code, reason)
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
            async with asyncio.timeout(self._close_timeout):
                await self._websocket.close(code, reason)

    async def _read(self, handle: Callable[[ClientMessage], Awaitable[None]]) -> None:
        async for message in self._messages():
            await handle(message)

    async def _messages(self) -> AsyncIterator[ClientMessage]:
        """The valid messages of the client; the others are answered here."""
        while not self.is_closing:
            # Frames that came in one piece must let others run, and `close` end them.
            await asyncio.sleep(0)
            event = await self._websocket.receive()
            if event["type"] == "websocket.disconnect":
                return
            frame = event.get("text")
            if frame is None:
                self.close(CloseCode.UNSUPPORTED_DATA, "text frames only")
                continue
            try:
                message = parse_client_message(frame)
            except InvalidMessage as error:
                self.send(
                    Error(code="invalid", detail=error.detail, room=error.room, ref=error.ref)
                )
            else:
                yield message

    async def _write(self) -> None:
        """Send what is in the outbox, for as long as the peer takes it."""
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # closed meanwhile
            while True:
                await self._outbox_filled.wait()
                self._outbox_filled.clear()
                while self._outbox:
                    frame = self._outbox.popleft()
                    self._outbox_bytes -= frame.size
                    await self._websocket.send_text(frame.text)
