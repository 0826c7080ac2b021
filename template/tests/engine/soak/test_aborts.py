"""Ten thousand connections that are reset at every stage."""

import asyncio
import socket
from itertools import cycle, islice
from struct import pack

import pytest

from tests.engine.soak.conftest import Measured, StartSoakServer
from tests.engine.soak.light import LightClient, handshake, open_light
from tests.support.auth import sign_in
from tests.support.client import Credentials
from tests.support.server import AppServer

pytestmark = pytest.mark.soak

CYCLES = 10_000
WARM_UP = 5_000
AT_ONCE = 50
ROOMS = 10

STAGES = (
    "connected",
    "within the request",
    "before the answer",
    "welcomed",
    "within a frame",
    "joining",
    "joined",
    "publishing",
)


class Aborter(LightClient):
    """A client whose connection is reset at a stage."""

    def __init__(self) -> None:
        super().__init__()
        self.welcomed = asyncio.get_running_loop().create_future()
        self.joined = asyncio.get_running_loop().create_future()

    def on_text(self, payload: bytes) -> None:
        if payload.startswith(b'{"type":"welcome"'):
            self.welcomed.set_result(None)
        elif payload.startswith(b'{"type":"joined"'):
            self.joined.set_result(None)

    async def reach(self, stage: str, room: str) -> None:
        """Go on from the handshake to a later stage."""
        await self.welcomed
        if stage == "within a frame" and self.transport is not None:
            self.transport.write(b"\x81\xfe\x01\x00\0\0\0\0half a mess")
        if stage in ("joining", "joined", "publishing"):
            self.send(type="join", room=room)
        if stage in ("joined", "publishing"):
            await self.joined
        if stage == "publishing":
            for number in range(5):
                self.publish(room, f"{id(self)}-{number}", "bye")
                self.send(type="signal", room=room, event="chat.typing", data={})
            self.send(type="history", room=room)
            await asyncio.sleep(0)


async def test_aborted_connections_leave_nothing(
    start_server: StartSoakServer, broker_url: str, measured: Measured
) -> None:
    server = await start_server(BROKER_URL=broker_url, HISTORY_SIZE=100)
    credentials = await sign_in(server.url, "alice")
    tasks = await server.tasks()
    async with asyncio.timeout(300):
        await abort(server, credentials, WARM_UP)
        await server.wait_until_idle(tasks, patience=30)
        await server.trim()
        before = server.memory()
        await abort(server, credentials, CYCLES)
        sockets, left = await server.wait_until_idle(tasks, patience=30)
        await server.trim()
        after = server.memory()
    rooms = await server.metric("websocket_rooms")
    measured("sockets, rooms left", f"{sockets:.0f}, {rooms:.0f}")
    measured("tasks before and after", f"{tasks}, {left}")
    measured("memory before and after", f"{before / 1e6:.1f}, {after / 1e6:.1f} MB")
    measured("ratio of memory", after / before)
    assert (sockets, rooms) == (0, 0), f"{sockets} sockets and {rooms} rooms are left"
    assert left <= tasks, f"{left} tasks are left, and {tasks} were there before"
    assert after <= 1.05 * before, f"memory grew from {before} to {after} bytes"


async def abort(server: AppServer, credentials: Credentials, cycles: int) -> None:
    """Connect and abort, at each stage in turn."""
    stages = islice(cycle(STAGES), cycles)
    rooms = cycle(f"room-{number}" for number in range(ROOMS))

    async def abort_in_turn() -> None:
        for stage in stages:
            await abort_at(stage, server, credentials, next(rooms))

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(abort_in_turn())


async def abort_at(stage: str, server: AppServer, credentials: Credentials, room: str) -> None:
    with socket.socket() as sock:
        sock.setblocking(False)
        # Closing sends RST at once and discards unsent data (`man 7 socket`).
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
        if stage in ("connected", "within the request", "before the answer"):
            loop = asyncio.get_running_loop()
            request = handshake(server.port, credentials, await credentials.query())
            sent = {"connected": 0, "within the request": len(request) // 2}.get(stage)
            await loop.sock_connect(sock, ("127.0.0.1", server.port))
            await loop.sock_sendall(sock, request[:sent])
        else:
            client = await open_light(server.port, credentials, Aborter(), sock)
            async with asyncio.timeout(20):
                await client.reach(stage, room)
            client.abort()
            await client.closed
