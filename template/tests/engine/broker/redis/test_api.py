"""Commands to disconnect or evict a user reach workers whose subscriptions were interrupted."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from redis.asyncio import Redis

from tests.engine.broker.redis.test_connection import Relay
from tests.engine.broker.redis.test_outage import without_subscriptions
from tests.engine.workers.test_api import KEY, close_code, post, start_workers
from tests.support.broker.redis import RedisServer
from tests.support.client import PATIENCE
from tests.support.pair import pair_in, wait_until_ready
from tests.support.server import StartServer


@pytest_asyncio.fixture
async def redis_server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """A Redis that loses nothing when it restarts."""
    async with RedisServer(tmp_path).running() as server:
        yield server


async def test_a_command_that_a_worker_could_not_receive_is_carried_out_later(
    start_server: StartServer, redis_server: RedisServer, room: str
) -> None:
    servers = await start_workers(start_server, redis_server.url)
    async with pair_in(room, servers) as (alice, bob):
        async with without_subscriptions(redis_server.url):
            assert await post(servers[0], "disconnect", user=bob.user["id"]) == 202
            assert await post(servers[1], "disconnect", user=alice.user["id"]) == 202
            await asyncio.sleep(0.2)
            for client in (alice, bob):
                await client.on_the_way()  # it is still connected
        for client in (alice, bob):
            assert await close_code(client, PATIENCE) == 4403


async def test_a_worker_that_lost_its_connection_to_redis_disconnects_when_it_reconnects(
    start_server: StartServer, redis_server: RedisServer, tmp_path: Path, room: str
) -> None:
    relay = Relay(redis_server)
    async with relay.running():
        settings = {"API_KEYS": KEY, "PING_INTERVAL": 1}
        urls = (redis_server.url, relay.url)
        servers = [await start_server(BROKER_URL=url, **settings) for url in urls]
        await wait_until_ready(servers)
        async with pair_in(room, servers) as (alice, bob):
            relay.target = RedisServer(tmp_path)  # which does not run
            relay.reset()
            await servers[1].wait_for_status("/readyz", 503)
            for client in (alice, bob):
                assert await post(servers[0], "disconnect", user=client.user["id"]) == 202
            assert await close_code(alice) == 4403
            await bob.on_the_way()  # it is still connected
            relay.target = redis_server
            assert await close_code(bob, PATIENCE) == 4403


async def test_a_command_that_was_accepted_before_redis_was_killed_is_carried_out(
    start_server: StartServer, redis_server: RedisServer, room: str
) -> None:
    servers = await start_workers(start_server, redis_server.url)
    async with pair_in(room, servers) as (alice, bob), Redis.from_url(redis_server.url) as redis:
        # No worker receives it before Redis is killed. The restarted Redis allows it again.
        await redis.acl_setuser("default", enabled=True, commands=["-subscribe"])
        await redis.client_kill_filter(_type="pubsub")
        assert await post(servers[0], "evict", user=bob.user["id"], room=room) == 202
        assert await post(servers[1], "disconnect", user=alice.user["id"]) == 202
        redis_server.kill()
        for client in (alice, bob):
            assert "left" not in {frame["type"] for frame in await client.on_the_way()}
        await redis_server.start()
        await bob.expect("left", room=room, reason="evicted")
        assert await close_code(alice, PATIENCE) == 4403
