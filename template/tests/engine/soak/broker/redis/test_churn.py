"""Clients join and leave a room on two servers of one Redis."""

import asyncio

import pytest
from redis.asyncio import Redis

from app import PROJECT_NAME
from tests.engine.soak.conftest import Measured, StartSoakServer
from tests.engine.soak.test_churn import VISITS, expect_rooms, join_and_leave
from tests.support.auth import sign_in
from tests.support.client import open_client

pytestmark = [
    pytest.mark.soak,
    pytest.mark.parametrize("broker_url", ["redis"], indirect=True),
]

CHANNEL = f"{PROJECT_NAME}:0:room:"


@pytest.mark.parametrize("count", [20, 4])
async def test_redis_has_subscriptions_for_the_rooms_with_members_only(
    start_server: StartSoakServer, broker_url: str, room: str, measured: Measured, count: int
) -> None:
    servers = [await start_server(BROKER_URL=broker_url) for _ in range(2)]
    async with asyncio.timeout(240):
        visitors = await join_and_leave(servers, room, count, VISITS)
    measured("joins and leaves", sum(len(visitor.visits) for visitor in visitors))
    for server in servers:
        await expect_rooms(server, 0)
    await expect_subscriptions(broker_url, {})
    # Rooms that are joined now are subscribed, and no others.
    async with (
        open_client(servers[0].ws_url, await sign_in(servers[0].url, "alice")) as alice,
        open_client(servers[1].ws_url, await sign_in(servers[1].url, "bob")) as bob,
    ):
        await alice.join(room)
        await bob.join(room)
        await alice.join("attic")
        await expect_subscriptions(broker_url, {room: 2, "attic": 1})


async def expect_subscriptions(broker_url: str, expected: dict[str, int]) -> None:
    """Check how many subscriptions of each room Redis has."""
    async with Redis.from_url(broker_url, decode_responses=True) as redis:
        channels = await redis.pubsub_channels(f"{CHANNEL}*")
        counts = await redis.pubsub_numsub(*channels) if channels else []
    subscriptions = {str(name).removeprefix(CHANNEL): count for name, count in counts}
    assert subscriptions == expected
