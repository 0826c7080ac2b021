"""A receiver attached to the server's protocol, and the bytes of its client.

The bytes are given to the protocol as a transport would give them, so that a test decides
where one read ends.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from struct import pack
from typing import Any, NamedTuple, cast

from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState
from websockets.frames import Close, Frame, Opcode

from app.realtime.frames import Frames, frame
from app.realtime.server.frames import EXTENSION, PrebuiltFramesProtocol
from app.realtime.server.interface import FrameWriter
from tests.engine.server.test_frames import HANDSHAKE

MAX_SIZE = 70_000
"""Bytes that a message may have in these tests."""

DISCONNECTED = "(disconnected)"


class Wire(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True

    def pause_reading(self) -> None:
        """What the test sends arrives anyway, like what was read already."""

    def resume_reading(self) -> None:
        """Nothing was paused."""


class Outcome(NamedTuple):
    """What became of the bytes that a client sent."""

    calls: list[str | None]
    """What the receiver was called with."""
    written: bytes
    """What the client received."""
    is_closing: bool
    """Whether the server closes the connection."""

    @property
    def close_code(self) -> int:
        """The code of the only close frame."""
        closes = []
        start = 0
        for payload in Frames(self.written, 1).payloads:
            if self.written[start] & 0x0F == Opcode.CLOSE:
                closes.append(Close.parse(payload).code)
            start += len(frame(payload).wire)
        (code,) = closes
        return code


class Attached:
    """A receiver that answers each text with the same text, and what it is attached to."""

    def __init__(self, protocol: PrebuiltFramesProtocol) -> None:
        self.protocol = protocol
        self.wire = Wire()
        self.calls: list[str | None] = []
        self.is_started = False
        self.on_text: Callable[[], None] = lambda: None

    def start(self, writer: FrameWriter, on_end: Callable[[], None] | None = None) -> None:  # noqa: ARG002
        self.wire.written.clear()  # the answer to the handshake
        self.is_started = True

    def receive(self, text: str | None) -> None:
        self.calls.append(text)
        self.protocol.write_frames(frame((text or "").encode()))
        self.on_text()

    def disconnected(self) -> None:
        self.calls.append(DISCONNECTED)

    def read(self, *chunks: bytes) -> None:
        """Read these bytes from the client, each chunk in one read, while the socket is open."""
        for chunk in chunks:
            if not self.wire.closing:  # a transport that is closed reads nothing more
                self.protocol.data_received(chunk)

    @property
    def outcome(self) -> Outcome:
        return Outcome(list(self.calls), bytes(self.wire.written), self.wire.closing)


@asynccontextmanager
async def attached(more: bytes = b"", **settings: Any) -> AsyncIterator[Attached]:
    """An attached receiver, after a handshake that has `more` headers."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        scope["extensions"][EXTENSION].attach(receiver)

    config = Config(
        cast("Any", app),
        log_config=None,
        ws_ping_interval=None,
        **{"ws_max_size": MAX_SIZE, "ws_per_message_deflate": False, **settings},
    )
    protocol = PrebuiltFramesProtocol(config, ServerState(), {})
    receiver = Attached(protocol)
    protocol.connection_made(receiver.wire)
    protocol.data_received(HANDSHAKE[:-2] + more + b"\r\n")
    while not receiver.is_started:
        await asyncio.sleep(0)
    yield receiver
    protocol.connection_lost(None)


async def outcome_of(chunks: Iterable[bytes], more: bytes = b"", **settings: Any) -> Outcome:
    """What becomes of these bytes, each chunk in one read."""
    async with attached(more, **settings) as receiver:
        receiver.read(*chunks)
        return receiver.outcome


def sent(opcode: Opcode, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A frame of a client."""
    return Frame(opcode, payload, fin=fin).serialize(mask=True)


def text(payload: str) -> bytes:
    return sent(Opcode.TEXT, payload.encode())


def header(size: int, width: int, *, first: int = 0x81) -> bytes:
    """The head of a masked frame whose size takes 1, 3 or 9 bytes, and whose mask is zero."""
    if width == 1:
        return bytes([first, 0x80 | size]) + bytes(4)
    if width == 3:
        return pack("!BBH", first, 0x80 | 126, size) + bytes(4)
    return pack("!BBQ", first, 0x80 | 127, size) + bytes(4)
