"""A socket under a server that offers no direct way is read and written in turn."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from app.realtime.frames import Frames, encode
from app.realtime.protocol import Pong
from app.realtime.server.asgi import AsgiWriter, serve
from app.realtime.server.interface import FrameWriter
from tests.support.client import until

PONG = encode(Pong())


class Socket:
    """A receiver, and the server's `receive` and `send`."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.calls: list[str | None] = []
        self.writer: FrameWriter
        self.end: Callable[[], None]

    async def receive(self) -> dict[str, Any]:
        return await self.arrived.get()

    async def send(self, event: Any) -> None:
        await self.takes.wait()
        self.sent.append(dict(event))

    def arrive(self, text: str) -> None:
        self.arrived.put_nowait({"type": "websocket.receive", "text": text})

    def disconnect(self) -> None:
        self.arrived.put_nowait({"type": "websocket.disconnect", "code": 1006})

    # --- Receiver -------------------------------------------------------------------

    def start(self, writer: FrameWriter, on_end: Callable[[], None] | None = None) -> None:
        assert on_end is not None
        self.writer, self.end = writer, on_end

    def receive_text(self, text: str | None) -> None:
        self.calls.append(text)
        if text == "pause":
            self.writer.pause_reading()

    def disconnected(self) -> None:
        if "(disconnected)" not in self.calls:
            self.calls.append("(disconnected)")
            self.end()


class Receiver:
    """The receiver of a socket, whose `receive` has another meaning than ASGI's."""

    def __init__(self, socket: Socket) -> None:
        self.start = socket.start
        self.receive = socket.receive_text
        self.disconnected = socket.disconnected


@pytest.fixture
def socket() -> Socket:
    return Socket()


async def test_nothing_is_read_while_reading_is_paused(socket: Socket) -> None:
    serving = asyncio.create_task(serve(Receiver(socket), socket.receive, socket.send, None))
    for text in ("first", "pause", "second", "third"):
        socket.arrive(text)
    await until(lambda: len(socket.calls) == 2)
    for _ in range(20):
        await asyncio.sleep(0)
    assert socket.calls == ["first", "pause"]
    assert socket.arrived.qsize() == 2  # which the server keeps from the client
    socket.writer.resume_reading()
    socket.disconnect()
    await serving
    assert socket.calls == ["first", "pause", "second", "third", "(disconnected)"]


async def test_a_client_that_takes_nothing_is_given_one_piece_at_a_time(socket: Socket) -> None:
    serving = asyncio.create_task(serve(Receiver(socket), socket.receive, socket.send, None))
    await until(lambda: hasattr(socket, "writer"))
    changes: list[bool] = []
    socket.writer.on_change = lambda: changes.append(socket.writer.is_writable)
    socket.takes.clear()
    socket.writer.write_frames(Frames(PONG.wire * 3, 3))
    assert not socket.writer.is_writable
    for _ in range(20):
        await asyncio.sleep(0)
    assert (socket.sent, changes) == ([], [])
    socket.takes.set()
    await until(lambda: changes == [True])
    assert [it["text"] for it in socket.sent] == ['{"type":"pong"}'] * 3
    socket.disconnect()
    await serving


async def test_a_client_that_does_not_take_the_close_frame_is_given_up(socket: Socket) -> None:
    socket.takes.clear()
    async with asyncio.timeout(1):
        await AsgiWriter(socket.send, 0.01).close_socket(1013, "too slow")
    assert socket.sent == []
