"""A deploy: SIGTERM while thousands of sockets are open."""

import asyncio

import pytest

from tests.engine.soak.conftest import Measured, StartSoakServer
from tests.engine.soak.light import LightClient, open_light
from tests.support.auth import sign_in
from tests.support.client import Credentials
from tests.support.server import AppServer

pytestmark = pytest.mark.soak

SOCKETS = 5000
GRACE = 20
"""Seconds that the server may take to end."""


class Idler(LightClient):
    """A client that is in at most one room, and only reads."""

    def __init__(self) -> None:
        super().__init__()
        self.joined = asyncio.get_running_loop().create_future()

    def on_text(self, payload: bytes) -> None:
        if payload.startswith(b'{"type":"joined"'):
            self.joined.set_result(None)


@pytest.mark.parametrize(
    ("rooms", "members"),
    [(0, 0), (50, 100), (1, 2000)],
    ids=["in no room", "in 50 rooms of 100", "2000 in one room"],
)
async def test_all_sockets_are_closed_with_1012(
    start_server: StartSoakServer, broker_url: str, measured: Measured, rooms: int, members: int
) -> None:
    loop = asyncio.get_running_loop()
    server = await start_server(BROKER_URL=broker_url, SHUTDOWN_GRACE=GRACE)
    credentials = await sign_in(server.url, "alice")
    async with asyncio.timeout(120):
        clients = await open_many(server, credentials, SOCKETS)
        for number in range(rooms):
            for client in clients[number * members : (number + 1) * members]:
                client.send(type="join", room=f"room-{number}")
            for client in clients[number * members : (number + 1) * members]:
                await client.joined
    started = loop.time()
    try:
        await server.stop(patience=2 * GRACE)
        took = loop.time() - started
        async with asyncio.timeout(10):
            await asyncio.wait([client.closed for client in clients])
    finally:
        for client in clients:
            client.abort()
    told = sum(client.close_code == 1012 for client in clients)
    measured("closed with 1012", f"{told} of {SOCKETS}")
    measured("seconds from SIGTERM to the end", took)
    assert told >= 0.99 * SOCKETS, f"only {told} of {SOCKETS} saw 1012"
    assert took <= GRACE, f"ended after {took:.1f} s of {GRACE}"


async def open_many(server: AppServer, credentials: Credentials, count: int) -> list[Idler]:
    """Open sockets, a hundred handshakes at a time."""
    clients: list[Idler] = []
    while len(clients) < count:
        opening = (open_light(server.port, credentials, Idler()) for _ in range(100))
        clients += await asyncio.gather(*opening)
    return clients
