"""Requests are bounded in time and size. It fails when internals of uvicorn change.

`app/realtime/server/requests.py` depends on those. The protocol runs under a server of
asyncio's own, and its clients are bare TCP connections.
"""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from app.realtime.server import requests
from app.realtime.server.frames import PrebuiltFramesProtocol
from app.realtime.server.requests import MAX_HEAD_BYTES, BoundedRequestsProtocol
from tests.support.client import PATIENCE

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n"
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
SHORT = 0.3
"""Seconds that a request may take in these tests."""


class App:
    """Reads the body, waits for `seconds`, and answers `hello`. Accepts sockets."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.headers: list[tuple[bytes, bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] != "websocket.disconnect":
                pass
            return
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                return
            if not event["more_body"]:
                break
        await asyncio.sleep(self.seconds)
        self.headers = scope["headers"]
        headers = [(b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello"})


class Peer:
    """A bare connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def rest(self) -> bytes:
        """What the server sends until it closes."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()

    async def answer(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(b"hello")


@pytest.fixture
def app() -> App:
    return App()


@asynccontextmanager
async def connect(app: App) -> AsyncIterator[Peer]:
    config = Config(
        cast("Any", app),
        log_config=None,
        access_log=False,
        timeout_keep_alive=1,
        ws=PrebuiltFramesProtocol,
    )
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: BoundedRequestsProtocol(config, state, {}), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield Peer(reader, writer)
    finally:
        writer.transport.abort()
        server.close()
        async with asyncio.timeout(PATIENCE):
            while state.connections or state.tasks:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "request_so_far",
    [b"", b"GET", REQUEST[:-2], HANDSHAKE, UPLOAD, UPLOAD + b"half", REQUEST + REQUEST[:-2]],
    ids=["nothing", "a word", "headers", "handshake", "no body", "half a body", "a second one"],
)
async def test_a_request_that_does_not_arrive_in_time_ends_the_connection(
    app: App, monkeypatch: pytest.MonkeyPatch, request_so_far: bytes
) -> None:
    monkeypatch.setattr(requests, "REQUEST_SECONDS", SHORT)
    async with connect(app) as peer:
        peer.writer.write(request_so_far)
        assert (await peer.rest()).count(b"hello") == request_so_far.startswith(REQUEST)


@pytest.mark.parametrize("head", [REQUEST, HANDSHAKE], ids=["request", "handshake"])
async def test_a_byte_now_and_then_does_not_keep_the_connection(
    app: App, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(requests, "REQUEST_SECONDS", SHORT)
    async with connect(app) as peer:

        async def trickle() -> None:
            while True:
                for byte in head.rstrip(b"\r\n") + b"x" * 1000:
                    peer.writer.write(bytes([byte]))
                    await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        try:
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                async with asyncio.timeout(PATIENCE):
                    await peer.reader.readexactly(1)
        finally:
            trickling.cancel()


async def test_a_slow_response_does_not_count_as_a_slow_request(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "REQUEST_SECONDS", SHORT)
    app.seconds = 2 * SHORT
    async with connect(app) as peer:
        for _ in range(2):
            peer.writer.write(REQUEST + b"\r\n")  # some clients send an extra line end
            assert b"hello" in await peer.answer()


async def test_a_socket_outlives_the_deadline_of_its_request(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "REQUEST_SECONDS", SHORT)
    async with connect(app) as peer:
        peer.writer.write(HANDSHAKE + b"\r\n")
        assert b" 101 " in await peer.reader.readuntil(b"\r\n\r\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3 * SHORT):
                await peer.reader.read(1)


async def test_headers_that_do_not_end_are_refused(app: App) -> None:
    async with connect(app) as peer:
        peer.writer.write(REQUEST[:-2])
        for number in range(MAX_HEAD_BYTES // 100):
            peer.writer.write(b"X-%d: " % number + b"x" * 1000 + b"\r\n")
        with suppress(ConnectionResetError):  # as the server reads nothing after the refusal
            assert (await peer.rest()).startswith(b"HTTP/1.1 400 ")


async def test_a_long_body_does_not_count_as_headers(app: App) -> None:
    size = 3 * MAX_HEAD_BYTES
    async with connect(app) as peer:
        for _ in range(2):
            peer.writer.write(UPLOAD.replace(b"10", b"%d" % size) + b"x" * size)
            assert b" 200 OK" in await peer.answer()


async def test_trailers_are_not_headers(app: App) -> None:
    async with connect(app) as peer:
        chunked = UPLOAD.replace(b"Content-Length: 10", b"Transfer-Encoding: chunked")
        peer.writer.write(chunked + b"1\r\nx\r\n0\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
        await peer.answer()
        assert [name for name, _ in app.headers] == [b"host", b"transfer-encoding"]


@pytest.mark.parametrize("path", [b"/\xff", b"/?\xff"])
@pytest.mark.parametrize("head", [REQUEST, HANDSHAKE + b"\r\n"], ids=["request", "handshake"])
async def test_an_invalid_url_is_refused(
    app: App, caplog: pytest.LogCaptureFixture, head: bytes, path: bytes
) -> None:
    async with connect(app) as peer:
        peer.writer.write(head.replace(b" /", b" " + path, 1))
        assert (await peer.rest()).startswith(b"HTTP/1.1 400 ")
    assert all(record.exc_info is None for record in caplog.records)


async def test_a_socket_keeps_nothing_of_its_request(app: App) -> None:
    """A reference cycle would keep it until the garbage collector runs."""
    gc.collect()
    gc.disable()
    try:
        async with connect(app) as peer:
            peer.writer.write(HANDSHAKE + b"\r\n")
            async with asyncio.timeout(PATIENCE):
                assert b" 101 " in await peer.reader.readuntil(b"\r\n\r\n")
            kept = [one for one in gc.get_objects() if type(one) is BoundedRequestsProtocol]
            assert not kept
    finally:
        gc.enable()


@pytest.mark.parametrize("end", [b"0\r\nX-Trailer: ", b"5;extension="], ids=["trailer", "chunk"])
async def test_trailers_and_chunk_extensions_are_bounded(app: App, end: bytes) -> None:
    async with connect(app) as peer:
        head = UPLOAD.replace(b"Content-Length: 10", b"Transfer-Encoding: chunked")
        peer.writer.write(head + b"5\r\nhello\r\n" + end)
        sent = 0
        with suppress(ConnectionError):
            while sent < 50 * MAX_HEAD_BYTES and not peer.reader.at_eof():
                peer.writer.write(b"x" * 4096)
                await peer.writer.drain()
                sent += 4096
                await asyncio.sleep(0)
        assert sent < 50 * MAX_HEAD_BYTES


async def test_a_long_body_is_accepted(app: App) -> None:
    async with connect(app) as peer:
        size = 10 * MAX_HEAD_BYTES
        peer.writer.write(UPLOAD.replace(b"10", str(size).encode()) + b"x" * size)
        assert (await peer.answer()).startswith(b"HTTP/1.1 200 ")
