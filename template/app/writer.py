"""How frames leave: as they are where the server takes them so, else through ASGI."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from fastapi import WebSocket
from starlette.types import Send

from app.prebuilt_frames import EXTENSION
from app.protocol import Frames


class FrameWriter(Protocol):
    """Where the frames of one socket go."""

    on_change: Callable[[], None] | None
    """Called whenever `is_writable` has changed."""

    @property
    def is_writable(self) -> bool:
        """Whether the peer keeps up. While it does not, nothing should be written."""

    def write_frames(self, frames: Frames) -> None:
        """Send frames, in order. Never waits; a closing socket takes none."""

    @property
    def raw_transport(self) -> asyncio.WriteTransport | None:
        """What takes frames as they are, if the server has such a thing.

        Nothing may be written to it while it is closing or `is_writable` is false.
        """

    async def close_socket(self, code: int, reason: str) -> None:
        """Close the socket with this code."""


class AsgiWriter:
    """Sends by ASGI's `send`, which waits for slow peers, in a task of its own."""

    def __init__(self, send: Send, close_timeout: float | None) -> None:
        self.on_change: Callable[[], None] | None = None
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
        """Close the socket; a peer that does not take the close frame is left to TCP."""
        with contextlib.suppress(OSError, RuntimeError, TimeoutError):
            async with asyncio.timeout(self._close_timeout):
                await self._asgi_send({"type": "websocket.close", "code": code, "reason": reason})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send what is given, until the end of the block."""
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
    """What the server offers for an accepted socket, if it does."""
    writer: FrameWriter | None = websocket.scope.get("extensions", {}).get(EXTENSION)
    return writer
