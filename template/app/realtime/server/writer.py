"""How frames leave: directly where the server takes whole frames, else through ASGI."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from fastapi import WebSocket
from starlette.types import Send

from app.realtime.frames import Frames
from app.realtime.server.frames import EXTENSION


class FrameWriter(Protocol):
    """Where the frames of one socket go."""

    on_change: Callable[[], None] | None
    """Called whenever `is_writable` has changed."""
    handler_is_running: bool
    """Whether nothing is read because code of the application runs."""

    @property
    def is_writable(self) -> bool:
        """Whether the client keeps up. While it does not, nothing should be written."""

    def write_frames(self, frames: Frames) -> None:
        """Send frames, in order. Never waits. A closing socket ignores them."""

    @property
    def raw_transport(self) -> asyncio.WriteTransport | None:
        """The transport that takes frames directly, if the server has one.

        Write to it only while it is not closing and `is_writable` is true.
        """

    async def close_socket(self, code: int, reason: str) -> None:
        """Close the socket with this code."""


class AsgiWriter:
    """Sends by ASGI's `send`, which waits for slow clients, in a task of its own."""

    def __init__(self, send: Send, close_timeout: float | None) -> None:
        self.on_change: Callable[[], None] | None = None
        self.handler_is_running = False
        self._asgi_send = send
        self._close_timeout = close_timeout
        self._frames: Frames | None = None
        self._given = asyncio.Event()
        self._is_closed = False

    @property
    def is_writable(self) -> bool:
        return self._is_closed or self._frames is None

    def write_frames(self, frames: Frames) -> None:
        if self._is_closed:
            return
        self._frames = frames
        self._given.set()

    @property
    def raw_transport(self) -> None:
        return None

    async def close_socket(self, code: int, reason: str) -> None:
        """Close the socket. If the client does not take the close frame, TCP ends it."""
        with contextlib.suppress(OSError, RuntimeError, TimeoutError):
            async with asyncio.timeout(self._close_timeout):
                await self._asgi_send({"type": "websocket.close", "code": code, "reason": reason})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send what is written, for the length of the block."""
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(self._send())
            try:
                yield
            finally:
                sending.cancel()

    async def _send(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # closed meanwhile
            while True:
                await self._given.wait()
                self._given.clear()
                for payload in self._frames.payloads if self._frames is not None else ():
                    await self._asgi_send({"type": "websocket.send", "text": payload.decode()})
                self._frames = None
                self._tell_change()
        self._is_closed = True
        self._tell_change()

    def _tell_change(self) -> None:
        if self.on_change is not None:
            self.on_change()


def prebuilt_writer(websocket: WebSocket) -> FrameWriter | None:
    """The writer that the server offers for an accepted socket, if it offers one."""
    writer: FrameWriter | None = websocket.scope.get("extensions", {}).get(EXTENSION)
    return writer
