"""People come and leave, thousands of times, while others publish."""

import asyncio
from collections.abc import Sequence
from itertools import repeat

import pytest

from tests.engine.soak.conftest import Measured, StartSoakServer
from tests.engine.soak.light import open_light
from tests.engine.soak.server import SoakServer
from tests.engine.soak.visitor import Visitor
from tests.support.auth import sign_in

pytestmark = pytest.mark.soak

VISITS = 5_000
"""Joins and leaves of a crowd, and as many of a few."""
LONGEST = 0.02
"""Seconds of the longest stay."""


# With few visitors, the room is empty again and again.
@pytest.mark.parametrize("count", [20, 3])
async def test_room_stands_coming_and_leaving(
    start_server: StartSoakServer, broker_url: str, room: str, measured: Measured, count: int
) -> None:
    server = await start_server(BROKER_URL=broker_url)
    async with asyncio.timeout(240):
        visiting = await come_and_leave([server], room, count, VISITS)
    await expect_rooms(server, 0)
    measured("joins and leaves", sum(visitor.visits for visitor in visiting))


async def come_and_leave(
    servers: Sequence[SoakServer], room: str, count: int, visits: int
) -> list[Visitor]:
    """Visit a room of all servers. Nobody misses what is published meanwhile."""
    credentials = [await sign_in(server.url, "alice") for server in servers]
    visiting = [
        await open_light(server.port, presented, Visitor(room))
        for server, presented in zip(servers, credentials, strict=True)
        for _ in range(count // len(servers))
    ]
    left = repeat(None, visits)

    async def visit_again_and_again(visitor: Visitor) -> None:
        others = [other for other in visiting if other is not visitor]
        for _ in left:
            await visitor.visit(others, LONGEST)

    try:
        async with asyncio.TaskGroup() as group:
            for visitor in visiting:
                group.create_task(visit_again_and_again(visitor))
        closed = [visitor.close_code for visitor in visiting if visitor.closed.done()]
    finally:
        for visitor in visiting:
            visitor.abort()
    faults = [fault for visitor in visiting for fault in visitor.faults]
    assert not closed, f"{len(closed)} sockets closed, with {closed}"
    assert not faults, f"{len(faults)} faults in {visits} visits, first {faults[:5]}"
    return visiting


async def expect_rooms(server: SoakServer, count: int) -> None:
    """The server has this many rooms with members."""
    rooms = await server.metric("websocket_rooms")
    assert rooms == count, f"{rooms:.0f} rooms have members, and {count} should"
