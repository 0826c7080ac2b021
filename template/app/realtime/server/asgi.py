"""Serves a socket through ASGI, under a server that offers no direct way."""

import asyncio
import contextlib
from collections.abc import Callable

from starlette.types import Receive, Send

from app.realtime.frames import Frames
from app.realtime.server.interface import Receiver


class AsgiWriter:
    """Sends by ASGI's `send`, which waits for slow clients, in a task of its own."""

    def __init__(self, send: Send, close_timeout: float | None) -> None:
        """`close_timeout`: seconds that a client has to take the close frame; None: any."""
        self.on_change: Callable[[], None] | None = None
        self.handler_is_running = False
        self.may_read = asyncio.Event()
        self.may_read.set()
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

    def pause_reading(self) -> None:
        self.may_read.clear()

    def resume_reading(self) -> None:
        self.may_read.set()

    async def close_socket(self, code: int, reason: str) -> None:
        """Close the socket. If the client does not take the close frame, TCP ends it."""
        with contextlib.suppress(OSError, RuntimeError, TimeoutError):
            async with asyncio.timeout(self._close_timeout):
                await self._asgi_send({"type": "websocket.close", "code": code, "reason": reason})

    async def send_written(self) -> None:
        """Send what is written, until the client is gone."""
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


async def serve(
    receiver: Receiver, receive: Receive, send: Send, close_timeout: float | None
) -> None:
    """Serve a socket to its end. `close_timeout` is that of `AsgiWriter`."""
    writer = AsgiWriter(send, close_timeout)
    ended = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(writer.send_written())
        receiver.start(writer, ended.set)
        reading = tasks.create_task(read(receiver, receive, writer.may_read))
        try:
            await ended.wait()
        finally:
            receiver.disconnected()
            reading.cancel()
            sending.cancel()


async def read(receiver: Receiver, receive: Receive, may_read: asyncio.Event) -> None:
    """Pass on what the client sends, until it is gone."""
    while True:
        await may_read.wait()
        event = await receive()
        if event["type"] == "websocket.disconnect":
            receiver.disconnected()
            return
        receiver.receive(event.get("text"))
