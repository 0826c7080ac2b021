"""The server closes a client that stops reading, and no other."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosedError

from tests.engine.test_metrics import scrape_until
from tests.support.auth import sign_in
from tests.support.client import JSON, Client, Credentials, open_client
from tests.support.server import AppServer, StartServer

TEXT = "x" * 4000
LIMIT = 20_000
"""A server that keeps a stalled client for so many messages keeps it for ever."""


@asynccontextmanager
async def open_stalling_client(
    server: AppServer, credentials: Credentials
) -> AsyncIterator[Client]:
    """A client for which little is buffered while the test does not receive from it."""
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.connect(("127.0.0.1", server.port))
    narrow.setblocking(False)
    async with open_client(
        server.ws_url, credentials, sock=narrow, max_queue=1, ping_interval=None, close_timeout=0
    ) as client:
        yield client


@asynccontextmanager
async def too_slow_client(server: AppServer) -> AsyncIterator[Client]:
    """A client that stopped reading, after two others saw it leave and missed nothing."""
    credentials = [await sign_in(server.url, name) for name in ("slow", "sender", "fast")]
    async with (
        open_stalling_client(server, credentials[0]) as slow,
        open_client(server.ws_url, credentials[1]) as sender,
        open_client(server.ws_url, credentials[2]) as fast,
    ):
        for client in (slow, sender, fast):
            await client.join("slow")
        await publish_until_gone(sender, fast, slow.user)
        yield slow


async def publish_until_gone(sender: Client, fast: Client, user: JSON) -> None:
    """Publish until `user` left the room. Both clients receive everything, in order."""
    sent = 0
    gone = False
    while not gone:
        assert sent < LIMIT, f"{user} is still there"
        for number in range(sent, sent + 50):
            await sender.publish("slow", f"{number} {TEXT}", id=str(number))
        for number in range(sent, sent + 50):
            gone = await next_message(sender, number, user) or gone
            gone = await next_message(fast, number, user) or gone
        sent += 50
        await asyncio.sleep(0.01)  # a room is told of who left once a second


async def next_message(client: Client, number: int, user: JSON) -> bool:
    """Receive the message with this number. Returns whether `user` left before it."""
    gone = False
    while True:
        frame = await client.receive()
        if frame["type"] == "presence" and frame["event"] == "leave" and frame["user"] == user:
            gone = True
        elif frame["type"] == "message":
            assert frame["id"] == str(number)
            return gone


async def fill_outbox(sender: Client, room: str) -> None:
    """Publish more than is buffered between a server and a client that does not read."""
    for _ in range(2000):
        await sender.publish(room, TEXT)
    for _ in range(2000):
        await sender.expect("message")


async def test_a_slow_client_is_closed_alone_with_1013(server: AppServer) -> None:
    async with too_slow_client(server) as slow:
        # A client that reads on receives what was buffered, and then the close code.
        with pytest.raises(ConnectionClosedError):
            await slow.expect("never")
        assert slow.socket.close_code == 1013


@pytest.mark.parametrize("unlimited", ["OUTBOX_MESSAGES", "OUTBOX_BYTES"])
async def test_either_limit_of_the_outbox_closes_a_slow_client(
    start_server: StartServer, unlimited: str
) -> None:
    async with too_slow_client(await start_server(**{unlimited: 0})):
        pass


async def test_a_client_that_does_not_answer_a_ping_leaves_its_rooms(
    start_server: StartServer,
) -> None:
    server = await start_server(PING_INTERVAL=1, PING_TIMEOUT=2)
    credentials = [await sign_in(server.url, name) for name in ("silent", "witness")]
    async with (
        open_client(server.ws_url, credentials[0], close_timeout=0) as silent,
        open_client(server.ws_url, credentials[1]) as witness,
    ):
        await witness.join("quiet")
        await silent.join("quiet")
        silent.socket.transport.pause_reading()
        async with asyncio.timeout(1 + 2 + 1):  # the test's own way takes a moment
            await witness.expect("presence", user=silent.user, event="leave")
        await scrape_until(server, websocket_connections=1)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has TCP_USER_TIMEOUT")
async def test_the_kernel_drops_a_client_that_never_reads_again(start_server: StartServer) -> None:
    server = await start_server(PING_INTERVAL=1, PING_TIMEOUT=1)
    async with too_slow_client(server) as slow, asyncio.timeout(10):
        while kernel_has_connection(server.port, slow.socket.local_address[1]):
            await asyncio.sleep(0.05)


def kernel_has_connection(local_port: int, remote_port: int) -> bool:
    """Whether there is a TCP connection between these ports of 127.0.0.1 (`man 5 proc`)."""
    ends = f"0100007F:{local_port:04X} 0100007F:{remote_port:04X}"
    return ends in Path("/proc/net/tcp").read_text()
