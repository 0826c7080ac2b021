"""Clients join and leave a room thousands of times, while others publish there."""

import asyncio
from collections.abc import Sequence
from itertools import repeat

import pytest

from tests.engine.soak.conftest import Measured, StartSoakServer
from tests.engine.soak.light import open_light
from tests.engine.soak.server import SoakServer
from tests.engine.soak.visitor import Visitor, faults_in_visits
from tests.support.auth import sign_in

pytestmark = pytest.mark.soak

VISITS = 5_000
"""Joins and leaves of many clients, and as many of a few."""
LONGEST = 0.02
"""The longest stay, in seconds."""


# With few visitors, the room is often empty.
@pytest.mark.parametrize("count", [20, 3])
async def test_clients_that_join_and_leave_miss_no_message(
    start_server: StartSoakServer, broker_url: str, room: str, measured: Measured, count: int
) -> None:
    server = await start_server(BROKER_URL=broker_url)
    async with asyncio.timeout(240):
        visitors = await join_and_leave([server], room, count, VISITS)
    await expect_rooms(server, 0)
    measured("joins and leaves", sum(len(visitor.visits) for visitor in visitors))


async def join_and_leave(
    servers: Sequence[SoakServer], room: str, count: int, visits: int
) -> list[Visitor]:
    """Visit a room on all servers, and check that nobody misses a message."""
    credentials = [await sign_in(server.url, "alice") for server in servers]
    visitors = [
        await open_light(server.port, presented, Visitor(room))
        for server, presented in zip(servers, credentials, strict=True)
        for _ in range(count // len(servers))
    ]
    left = repeat(None, visits)

    async def visit_again_and_again(visitor: Visitor) -> None:
        others = [other for other in visitors if other is not visitor]
        for _ in left:
            await visitor.visit(others, LONGEST)

    try:
        async with asyncio.TaskGroup() as group:
            for visitor in visitors:
                group.create_task(visit_again_and_again(visitor))
        closed = [visitor.close_code for visitor in visitors if visitor.closed.done()]
    finally:
        for visitor in visitors:
            visitor.abort()
    faults = [fault for visitor in visitors for fault in visitor.faults]
    faults += faults_in_visits(visitors)
    assert not closed, f"{len(closed)} sockets closed, with {closed}"
    assert not faults, f"{len(faults)} faults in {visits} visits, first {faults[:5]}"
    return visitors


async def expect_rooms(server: SoakServer, count: int) -> None:
    """Check that the server has so many rooms with members."""
    rooms = await server.metric("websocket_rooms")
    assert rooms == count, f"{rooms:.0f} rooms have members, and {count} should"
