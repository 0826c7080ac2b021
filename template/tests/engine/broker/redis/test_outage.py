"""Redis loses subscriptions or its last messages: clients are told, or miss nothing."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest_asyncio
from redis.asyncio import Redis

from app import PROJECT_NAME
from tests.engine.workers.test_outage import frames_of, received
from tests.support.broker.redis import RedisServer
from tests.support.client import PATIENCE
from tests.support.pair import deliver_both_ways, pair_in, start_pair
from tests.support.server import StartServer


@pytest_asyncio.fixture
async def redis_server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """A Redis of the test's own."""
    async with RedisServer(tmp_path).running() as server:
        yield server


@asynccontextmanager
async def without_subscriptions(url: str) -> AsyncIterator[None]:
    """Cut every subscription, and allow none before the end of the block."""
    async with Redis.from_url(url) as redis:
        await redis.acl_setuser("default", enabled=True, commands=["-subscribe"])
        await redis.client_kill_filter(_type="pubsub")
        yield
        await redis.acl_setuser("default", enabled=True, commands=["+subscribe"])


async def wait_until_taken(url: str, room: str, id: str) -> int:  # noqa: A002
    """Wait until Redis has taken the message with this id. Returns its offset."""
    ids = f"{PROJECT_NAME}:0:ids:room:{room}"
    async with Redis.from_url(url) as redis, asyncio.timeout(PATIENCE):
        while (known := await redis.hget(ids, id)) is None:
            await asyncio.sleep(0.01)
    return int(known.split()[0])


# --- Gaps -----------------------------------------------------------------------


async def test_messages_that_no_worker_received_are_filled_in(
    start_server: StartServer, redis_server: RedisServer, room: str
) -> None:
    servers = await start_pair(start_server, redis_server.url)
    async with pair_in(room, servers) as (alice, bob):
        async with without_subscriptions(redis_server.url):
            names = [await alice.publish(room, "hello") for _ in range(100)]
            await wait_until_taken(redis_server.url, room, names[-1])
            assert not frames_of(alice, "message")
        for client in (alice, bob):
            assert [frame["id"] for frame in await client.messages(100)] == names
        await deliver_both_ways(room, [alice, bob])
        for client in (alice, bob):
            assert len(received(client)) == 102
            assert not frames_of(client, "resync")


async def test_nothing_is_lost_or_doubled_when_subscriptions_are_cut_under_load(
    start_server: StartServer, redis_server: RedisServer, room: str
) -> None:
    servers = await start_pair(start_server, redis_server.url)
    async with pair_in(room, servers) as (alice, bob), Redis.from_url(redis_server.url) as redis:
        names = []
        for number in range(400):
            names.append(await alice.publish(room, "hello"))
            if number % 40 == 20:
                await redis.client_kill_filter(_type="pubsub")
            await asyncio.sleep(0.002)
        for client in (alice, bob):
            assert [frame["id"] for frame in await client.messages(400)] == names
            received(client)
            assert not frames_of(client, "resync")


async def test_members_are_told_of_a_gap_that_history_does_not_fill(
    start_server: StartServer, redis_server: RedisServer, room: str
) -> None:
    servers = await start_pair(start_server, redis_server.url, HISTORY_SIZE=3)
    async with pair_in(room, servers) as (alice, bob):
        epoch = frames_of(alice, "joined")[0]["epoch"]
        async with without_subscriptions(redis_server.url):
            names = [await alice.publish(room, "lost") for _ in range(10)]
            last = await wait_until_taken(redis_server.url, room, names[-1])
        for client in (alice, bob):
            resync = await client.expect("resync", room=room)
            assert resync == {"type": "resync", "room": room, "epoch": epoch, "offset": last}
        await alice.publish(room, "live")
        for client in (alice, bob):
            assert (await client.expect("message"))["offset"] > last
            assert len(received(client)) == 1


async def test_members_are_told_when_redis_lost_the_last_messages(
    start_server: StartServer, tmp_path: Path, room: str
) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    data.mkdir()
    async with RedisServer(data).running() as redis_server:
        servers = await start_pair(start_server, redis_server.url)
        async with pair_in(room, servers) as clients:
            joined = frames_of(clients[0], "joined")[0]
            for _ in range(5):
                await deliver_both_ways(room, clients)
            shutil.copytree(data, copy)
            await deliver_both_ways(room, clients)
            redis_server.kill()
            shutil.rmtree(data)
            copy.rename(data)
            await redis_server.start()
            for client in clients:
                resync = await client.expect("resync", room=room)
                assert resync["epoch"] != joined["epoch"]
            for _ in range(5):
                await deliver_both_ways(room, clients)
            for client in clients:
                after = client.seen[client.seen.index(frames_of(client, "resync")[0]) :]
                offsets = [frame["offset"] for frame in after if frame["type"] == "message"]
                assert offsets == sorted(set(offsets))
                assert len(offsets) == 10


async def test_nothing_is_dropped_in_silence_when_redis_lost_messages_and_takes_new_ones_at_once(
    start_server: StartServer, tmp_path: Path, room: str
) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    data.mkdir()
    async with RedisServer(data).running() as redis_server:
        servers = await start_pair(start_server, redis_server.url)
        async with pair_in(room, servers) as clients:
            await deliver_both_ways(room, clients)
            shutil.copytree(data, copy)
            await deliver_both_ways(room, clients)
            redis_server.kill()
            shutil.rmtree(data)
            copy.rename(data)
            await redis_server.start()
            names = [await clients[0].publish(room, "hello") for _ in range(20)]
            last = await clients[0].publish(room, "last")
            for client in clients:
                seen = {frame.get("id") for frame in client.seen}
                while last not in seen and not frames_of(client, "resync"):
                    seen.add((await client.receive()).get("id"))
                got = {frame["id"] for frame in frames_of(client, "message")}
                refused = {frame["ref"] for frame in frames_of(client, "error")}
                assert frames_of(client, "resync") or set(names) <= got | refused
