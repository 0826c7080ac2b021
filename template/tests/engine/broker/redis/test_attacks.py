"""What one client can leave behind in Redis, within the default limits."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from redis.asyncio import Redis

from app import PROJECT_NAME
from app.realtime.broker.redis.names import POSITION_SECONDS
from tests.engine.broker.redis.test_backend import keys_of
from tests.engine.test_attacks import PER_SECOND, TEXT, enter_new_rooms
from tests.engine.test_metrics import scrape_until
from tests.support.auth import sign_in
from tests.support.broker.redis import RedisServer
from tests.support.client import PATIENCE, open_client
from tests.support.server import StartServer

NAME = f"{PROJECT_NAME}:0:"
ALWAYS = {NAME + "canary", NAME + "epoch"}
"""The keys that there are without any room."""

POSITION_BYTES = 260
"""What the position of a room may take, if the room has the longest name."""


async def test_entering_new_rooms_leaves_nothing_in_redis(
    tmp_path: Path, start_server: StartServer
) -> None:
    async with RedisServer(tmp_path).running() as redis, AsyncExitStack() as stack:
        server = await start_server(BROKER_URL=redis.url, MESSAGES_PER_SECOND=PER_SECOND)
        await server.wait_for_status("/readyz", 200)
        async with Redis.from_url(redis.url) as client:
            channels = set(await client.pubsub_channels())
            credentials = await sign_in(server.url, "mallory")
            clients = [
                await stack.enter_async_context(open_client(server.ws_url, credentials))
                for _ in range(3)
            ]
            entered = await asyncio.gather(
                *(enter_new_rooms(it, f"room-{number}", 0.5) for number, it in enumerate(clients))
            )
            assert len(await client.pubsub_channels()) == len(channels) + sum(entered)
            assert await keys_of(redis.url) == ALWAYS
            await stack.aclose()
            await scrape_until(server, websocket_rooms=0)
            async with asyncio.timeout(PATIENCE):
                while set(await client.pubsub_channels()) != channels:
                    await asyncio.sleep(0.05)
            assert await keys_of(redis.url) == ALWAYS


async def test_what_is_published_in_new_rooms_expires(
    tmp_path: Path, start_server: StartServer
) -> None:
    seconds = 2
    async with RedisServer(tmp_path).running() as redis:
        server = await start_server(BROKER_URL=redis.url, HISTORY_SECONDS=seconds)
        await server.wait_for_status("/readyz", 200)
        async with open_client(server.ws_url, await sign_in(server.url, "mallory")) as mallory:
            rooms = [f"{number:064}" for number in range(100)]  # the longest names
            for name in rooms:
                await mallory.join(name)
                await mallory.publish(name, TEXT)
                await mallory.send(type="leave", room=name)
            await mallory.on_the_way()
        async with Redis.from_url(redis.url) as client:
            kinds = {"position": POSITION_SECONDS + 1, "history": seconds, "ids": seconds}
            keys = {f"{NAME}{kind}:room:{name}" for kind in kinds for name in rooms}
            always = ALWAYS | {NAME + "positions"}
            assert await keys_of(redis.url) == always | keys
            for key in keys:
                kind = key.removeprefix(NAME).partition(":")[0]
                assert 0 < await client.ttl(key) <= kinds[kind]
            positions = {key for key in keys if key.startswith(NAME + "position")}
            async with asyncio.timeout(seconds + PATIENCE):
                while await keys_of(redis.url) != always | positions:
                    await asyncio.sleep(0.05)
            for key in positions:
                assert (await client.memory_usage(key) or 0) <= POSITION_BYTES
