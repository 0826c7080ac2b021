"""Frames that are already built. It fails when internals of uvicorn change.

`app/realtime/server/frames.py` depends on those. The protocol runs under a server of
asyncio's own, and its clients are bare TCP connections, so that every byte is seen.
"""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from struct import unpack
from typing import Any, cast

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState
from websockets.datastructures import Headers
from websockets.frames import Close, Frame, Opcode

from app.realtime.frames import Frames, encode
from app.realtime.protocol import Error, Pong
from app.realtime.server.frames import EXTENSION, PrebuiltFramesProtocol
from app.realtime.server.logs import FalseAlarms
from tests.support.client import PATIENCE, until

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
PONG = encode(Pong())


class Socket:
    """An accepted socket, seen from both ends."""

    def __init__(self, reader: asyncio.StreamReader, peer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.peer = peer
        self.protocol: PrebuiltFramesProtocol
        self.send: Send
        self.events: list[str] = []
        self.changes: list[bool] = []
        self.reads = asyncio.Event()
        self.reads.set()

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application: it accepts the socket, and reads until the client disconnects."""
        await receive()
        await send({"type": "websocket.accept"})
        self.send = send
        self.protocol = scope["extensions"][EXTENSION]
        self.protocol.on_change = lambda: self.changes.append(self.protocol.is_writable)
        while not self.events or self.events[-1] != "websocket.disconnect":
            await self.reads.wait()
            self.events.append((await receive())["type"])

    async def frame(self) -> tuple[Opcode, bytes]:
        """The next frame that the client receives."""
        async with asyncio.timeout(PATIENCE):
            first, size = await self.reader.readexactly(2)
            if size == 126:
                (size,) = unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = unpack("!Q", await self.reader.readexactly(8))
            assert first & 0xF0 == 0x80  # a whole message, not compressed
            return Opcode(first & 0x0F), await self.reader.readexactly(size)

    async def rest(self) -> bytes:
        """What the client receives until the connection ends, in whichever way."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self.reader.read()
        except ConnectionResetError:
            return b""

    def answer(self, opcode: Opcode, payload: bytes) -> None:
        """Send a frame as the client."""
        self.peer.write(Frame(opcode, payload).serialize(mask=True))

    def fill(self) -> int:
        """Write frames until the client does not keep up. Returns how many."""
        count = 0
        while self.protocol.is_writable:
            self.protocol.write_frames(LARGE)
            count += 1
        return count

    @property
    def is_lost(self) -> bool:
        """Whether the server has dropped the connection."""
        return self.protocol not in self.protocol.connections


@asynccontextmanager
async def open_socket(**settings: Any) -> AsyncIterator[Socket]:
    """A socket under a server with these settings of uvicorn."""
    loop = asyncio.get_running_loop()
    opened: list[Socket] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await opened[0].app(scope, receive, send)

    config = Config(
        cast("Any", app),
        log_config=None,
        **{"ws_per_message_deflate": False, "ws_ping_interval": None, **settings},
    )
    config.load()
    state = ServerState()
    server = await loop.create_server(
        lambda: PrebuiltFramesProtocol(config, state, {}), "127.0.0.1", 0
    )
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.setblocking(False)
    await loop.sock_connect(narrow, server.sockets[0].getsockname())
    # Little is read before the test asks for it.
    reader, peer = await asyncio.open_connection(sock=narrow, limit=1024)
    opened.append(Socket(reader, peer))
    try:
        peer.write(HANDSHAKE)
        await opened[0].reader.readuntil(b"\r\n\r\n")
        await until(lambda: hasattr(opened[0], "protocol"))
        yield opened[0]
    finally:
        peer.transport.abort()
        server.close()
        await until(lambda: not state.connections and not state.tasks)


def frames_of_size(size: int) -> Frames:
    """A message whose JSON has so many bytes."""
    empty = len(encode(Error(code="invalid", detail="")).payloads[0])
    return encode(Error(code="invalid", detail="x" * (size - empty)))


LARGE = frames_of_size(32_768)


@pytest.mark.parametrize("size", [125, 126, 127, 65535, 65536, 200_000])
async def test_frames_arrive_as_they_were_built(size: int) -> None:
    frames = frames_of_size(size)
    assert frames.wire == Frame(Opcode.TEXT, frames.payloads[0]).serialize(mask=False)
    async with open_socket() as opened:
        opened.protocol.write_frames(frames)
        opened.protocol.raw_transport.write(frames.wire)
        for _ in range(2):
            opcode, payload = await opened.frame()
            assert opcode is Opcode.TEXT
            assert len(payload) == size
            assert payload == frames.payloads[0]


async def test_the_headers_of_a_handshake_are_not_kept() -> None:
    def number_of_headers() -> int:
        return sum(len(one) for one in gc.get_objects() if type(one) is Headers)

    before = number_of_headers()
    async with open_socket() as opened:
        await until(lambda: opened.protocol.handshake_complete)
        assert number_of_headers() == before


async def test_prebuilt_frames_keep_their_order_among_others() -> None:
    async with open_socket(ws_ping_interval=0.01) as opened:
        payloads = []
        for number in range(50):
            payloads.append(f"sent {number}".encode())
            await opened.send({"type": "websocket.send", "text": payloads[-1].decode()})
            payloads.append(frames_of_size(100 + number).payloads[0])
            opened.protocol.write_frames(frames_of_size(100 + number))
            await asyncio.sleep(0.001)
        texts: list[bytes] = []
        pings = 0
        while len(texts) < len(payloads):
            opcode, payload = await opened.frame()
            if opcode is Opcode.TEXT:
                texts.append(payload)
            else:
                assert opcode is Opcode.PING
                opened.answer(Opcode.PONG, payload)
                pings += 1
        assert texts == payloads
        assert pings


async def test_messages_of_the_client_are_still_received() -> None:
    async with open_socket() as opened:
        for number in range(5):
            opened.answer(Opcode.TEXT, b"hello")
            await until(lambda count=number + 1: len(opened.events) == count)  # type: ignore[misc]
            opened.protocol.write_frames(PONG)
            assert await opened.frame() == (Opcode.TEXT, PONG.payloads[0])
        assert opened.events == ["websocket.receive"] * 5


async def test_the_writer_is_told_when_the_client_does_not_keep_up() -> None:
    async with open_socket() as opened:
        assert opened.protocol.is_writable
        count = opened.fill()
        assert opened.changes == [False]
        for _ in range(count):
            assert await opened.frame() == (Opcode.TEXT, LARGE.payloads[0])
        await until(lambda: opened.protocol.is_writable)
        assert opened.changes == [False, True]
        opened.protocol.write_frames(PONG)
        assert await opened.frame() == (Opcode.TEXT, PONG.payloads[0])


async def test_the_writer_is_told_when_a_client_that_did_not_keep_up_is_gone() -> None:
    async with open_socket() as opened:
        opened.fill()
        opened.peer.transport.abort()
        await until(lambda: opened.is_lost)
        assert opened.changes == [False, True]
        opened.protocol.write_frames(PONG)  # which does nothing


# --- The end ----------------------------------------------------------------------


async def test_nothing_is_written_after_the_close_frame() -> None:
    async with open_socket() as opened:
        opened.protocol.write_frames(PONG)
        await opened.protocol.close_socket(1013, "too slow")
        opened.protocol.write_frames(PONG)
        await opened.protocol.close_socket(1011, "again")
        assert await opened.frame() == (Opcode.TEXT, PONG.payloads[0])
        opcode, payload = await opened.frame()
        assert opcode is Opcode.CLOSE
        assert Close.parse(payload) == Close(1013, "too slow")
        opened.answer(Opcode.CLOSE, payload)
        assert await opened.rest() == b""


async def test_nothing_is_written_after_a_close_through_asgi() -> None:
    async with open_socket() as opened:
        await opened.send({"type": "websocket.close", "code": 1000})
        opened.protocol.write_frames(PONG)
        opcode, payload = await opened.frame()
        assert opcode is Opcode.CLOSE
        opened.answer(Opcode.CLOSE, payload)
        assert await opened.rest() == b""


async def test_nothing_is_written_once_the_client_closed() -> None:
    async with open_socket() as opened:
        opened.answer(Opcode.CLOSE, Close(1000, "").serialize())
        await until(lambda: opened.events == ["websocket.disconnect"])
        assert opened.protocol.raw_transport.is_closing()
        opened.protocol.write_frames(PONG)
        assert (await opened.frame())[0] is Opcode.CLOSE
        assert await opened.rest() == b""


async def test_nothing_is_written_once_the_server_shuts_down() -> None:
    async with open_socket() as opened:
        opened.protocol.shutdown()
        assert opened.protocol.raw_transport.is_closing()
        opened.protocol.write_frames(PONG)
        opcode, payload = await opened.frame()
        assert opcode is Opcode.CLOSE
        assert Close.parse(payload).code == 1012
        assert await opened.rest() == b""


async def test_a_client_that_answers_the_close_is_dropped_at_once() -> None:
    async with open_socket(ws_ping_timeout=60) as opened:
        opened.reads.clear()
        for _ in range(2):
            opened.answer(Opcode.TEXT, b"unread")
        await until(lambda: opened.protocol.read_paused)
        await opened.protocol.close_socket(1000, "")
        opened.answer(*await opened.frame())
        await until(lambda: opened.is_lost)
        opened.reads.set()


@pytest.mark.parametrize("stalled", [False, True])
@pytest.mark.parametrize("end", ["close_socket", "shutdown", "keepalive_timeout"])
async def test_a_client_that_never_answers_a_close_is_dropped(end: str, stalled: bool) -> None:
    async with open_socket(ws_ping_timeout=0.2) as opened:
        if stalled:
            opened.fill()
        if end == "close_socket":
            await opened.protocol.close_socket(1013, "too slow")
        else:
            getattr(opened.protocol, end)()
        await until(lambda: opened.is_lost)


async def test_a_client_that_answers_no_ping_is_closed_with_1011_and_dropped() -> None:
    async with open_socket(ws_ping_interval=0.1, ws_ping_timeout=0.1) as opened:
        assert (await opened.frame())[0] is Opcode.PING
        opcode, payload = await opened.frame()
        assert opcode is Opcode.CLOSE
        assert Close.parse(payload).code == 1011
        await until(lambda: opened.is_lost)
        await until(lambda: opened.events == ["websocket.disconnect"])


async def test_an_invalid_handshake_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with open_socket() as opened:
        port = opened.peer.get_extra_info("peername")[1]
        reader, peer = await asyncio.open_connection("127.0.0.1", port)
        peer.write(HANDSHAKE.replace(b"Version: 13", b"Version: 7"))
        refusal = await reader.read()
        peer.close()
        await peer.wait_closed()
        assert refusal.startswith(b"HTTP/1.1 400 ")
    assert not caplog.records


# --- Invalid handshakes and frames --------------------------------------------------


@asynccontextmanager
async def another_peer(
    opened: Socket,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection to the server of an open socket."""
    port = opened.peer.get_extra_info("peername")[1]
    reader, peer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, peer
    finally:
        peer.close()
        await peer.wait_closed()


@pytest.mark.parametrize(
    ("more", "status"),
    [
        (b"X: " + b"x" * 9000 + b"\r\n", b" 431 "),
        (b"".join(b"X-%d: x\r\n" % number for number in range(200)), b" 431 "),
        (b"Content-Length: 5\r\n", b""),
        (b"Transfer-Encoding: chunked\r\n", b""),
    ],
    ids=["long header", "many headers", "body", "chunked body"],
)
async def test_a_handshake_that_cannot_be_read_ends_the_connection(
    caplog: pytest.LogCaptureFixture, more: bytes, status: bytes
) -> None:
    async with open_socket() as opened, another_peer(opened) as (reader, peer):
        peer.write(HANDSHAKE[:-2] + more + b"\r\n")
        async with asyncio.timeout(PATIENCE):
            assert status in (await reader.read()).partition(b"\r\n")[0]
    assert not [record for record in caplog.records if record.exc_info]


async def test_frames_before_the_handshake_is_answered_end_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_socket() as opened:
        for early in (b"\xff" * 20, Frame(Opcode.CLOSE, b"").serialize(mask=True)):
            async with another_peer(opened) as (reader, peer):
                peer.write(HANDSHAKE + early)
                async with asyncio.timeout(PATIENCE):
                    assert b"101 Switching" not in await reader.read()
    assert not [record for record in caplog.records if record.exc_info]


async def test_an_invalid_text_followed_by_a_close_is_answered_with_a_close(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_socket() as opened:
        text = Frame(Opcode.TEXT, b"\xff").serialize(mask=True)
        opened.peer.write(text + Frame(Opcode.CLOSE, b"").serialize(mask=True))
        assert await opened.frame() == (Opcode.CLOSE, b"")
        await until(lambda: opened.events == ["websocket.disconnect"])
    assert {record.msg for record in caplog.records} <= FalseAlarms.messages
