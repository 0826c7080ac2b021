"""A Redis Cluster: its channels are spread, its masters fail, its slots move."""

import asyncio
import logging

import pytest

from app.realtime.broker import BrokerUnavailable
from app.realtime.broker.redis.names import BUCKET_PREFIXES, BUCKET_SLOTS, bucket_of
from tests.engine.broker.contract import connected, publications, publish, record, subscribe
from tests.engine.broker.redis.load import under_load
from tests.support.broker.redis.cluster import RedisCluster, move_slot
from tests.support.broker.redis.server import RedisServer
from tests.support.client import PATIENCE, until

FAILOVER = 3 * PATIENCE
"""Seconds in which a replica has to take over, on a busy machine."""


async def channels_of_each(cluster: RedisCluster, room: str) -> list[str]:
    """A channel on each master."""
    found: dict[int, str] = {}
    for number in range(100):
        channel = f"{room}.{number}"
        found.setdefault((await cluster.owner(channel)).port, channel)
        if len(found) == 3:
            return list(found.values())
    raise LookupError("some master has none")


async def until_owned_by_another(
    cluster: RedisCluster, channel: str, former: RedisServer
) -> RedisServer:
    """Wait until another node has a channel."""
    async with asyncio.timeout(FAILOVER):
        while (owner := await cluster.owner(channel)) is former:
            await asyncio.sleep(0.05)
    return owner


async def test_slots_move_under_load_and_nobody_is_refused(
    cluster: RedisCluster, room: str
) -> None:
    channels = await channels_of_each(cluster, room)
    async with under_load(cluster.url, channels) as load:
        former = await cluster.owner(channels[0])
        target = await cluster.owner(channels[1])
        await move_slot(cluster, BUCKET_SLOTS[bucket_of(channels[0])], former, target)
        await load.goes_on(channels)
        assert await cluster.owner(channels[0]) is target
        await move_slot(cluster, BUCKET_SLOTS[bucket_of(channels[0])], target, former)
        await load.goes_on(channels)
    assert [it.refused for it in load.publishers] == [0] * len(load.publishers)
    assert [len(it.began) for it in load.readers] == [1] * len(load.readers)


async def test_each_master_has_its_own_channels(cluster: RedisCluster, room: str) -> None:
    channels = await channels_of_each(cluster, room)
    async with connected(cluster.url) as backend:
        for channel in channels:
            await subscribe(backend, channel)
            await publish(backend, channel, channel)
        heard = {it.channel: it.message for it in await publications(backend, 3)}
        assert heard == {channel: f"message {channel}" for channel in channels}
        for channel in channels:
            async with (await cluster.owner(channel)).client() as client:
                key = f"{BUCKET_PREFIXES[bucket_of(channel)]}position:{channel}"
                assert await client.exists(key)


async def test_a_master_fails_under_load(cluster: RedisCluster, room: str) -> None:
    channels = await channels_of_each(cluster, room)
    async with under_load(cluster.url, channels) as load:
        former = await cluster.owner(channels[0])
        former.kill()
        await until(lambda: not any(it.alive for it in load.backends))
        await load.goes_on(channels[1:], patience=1)
        await until_owned_by_another(cluster, channels[0], former)
        await load.goes_on(channels, FAILOVER)
        await until(lambda: all(it.alive for it in load.backends))
    for publisher in load.publishers:
        assert publisher.slowest < 1.3
        assert (publisher.refused > 0) == (publisher.channel == channels[0])
    for reader in load.readers:
        assert len(reader.began) == (2 if reader.channel == channels[0] else 1)


async def test_a_master_that_was_silent_comes_back_as_a_replica_under_load(
    cluster: RedisCluster, room: str
) -> None:
    channels = await channels_of_each(cluster, room)
    async with under_load(cluster.url, channels) as load:
        former = await cluster.owner(channels[0])
        former.pause()
        await until_owned_by_another(cluster, channels[0], former)
        former.resume()
        await load.goes_on(channels, FAILOVER)
        await until(lambda: all(it.alive for it in load.backends))
    for publisher in load.publishers:
        assert publisher.slowest < 1.3


async def test_a_master_hands_over_to_its_replica_under_load(
    cluster: RedisCluster, room: str
) -> None:
    channels = await channels_of_each(cluster, room)
    async with under_load(cluster.url, channels) as load:
        former = await cluster.owner(channels[0])
        await cluster.replace(former)
        await load.goes_on(channels, FAILOVER)
        await until(lambda: all(it.alive for it in load.backends))


async def test_every_bucket_knows_of_a_failover(cluster: RedisCluster, room: str) -> None:
    # If it did not, a restart of the new master could not tell any more what was lost.
    former = await cluster.owner(room)
    async with connected(cluster.url) as backend:
        await until(lambda: backend.alive)
        await cluster.replace(former)
        master = await until_owned_by_another(cluster, room, former)
        async with master.client() as client:
            run = (await client.info("server"))["run_id"].encode()
            slots = await cluster.slots_of(master)
            names = zip(BUCKET_PREFIXES, BUCKET_SLOTS, strict=True)
            mine = [f"{prefix}epoch" for prefix, slot in names if slot in slots]
            assert len(mine) > 300
            deadline = asyncio.get_running_loop().time() + 3 * PATIENCE
            while {await client.hget(key, "run") for key in mine} != {run}:
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.05)


async def test_a_shard_that_is_gone_is_told_and_the_others_go_on(
    cluster: RedisCluster, room: str
) -> None:
    channels = await channels_of_each(cluster, room)
    gone = await cluster.owner(channels[0])
    async with connected(cluster.url) as backend:
        for channel in channels:
            await subscribe(backend, channel)
        (await cluster.replica_of(gone)).kill()
        gone.kill()
        await until(lambda: not backend.alive)
        clock = asyncio.get_running_loop().time
        for _ in range(20):
            started_at = clock()
            with pytest.raises(BrokerUnavailable):
                await backend.publish(channels[0], record("lost"))
            assert clock() - started_at < 1.3
            await publish(backend, channels[1], 1)
            await backend.history(channels[2], last=9)
            await asyncio.sleep(0.1)
        assert not backend.alive
        await cluster.restore()
        await until(lambda: backend.alive)
        await publish(backend, channels[0], "back")


async def test_a_cluster_that_was_wiped_begins_anew(cluster: RedisCluster, room: str) -> None:
    channels = await channels_of_each(cluster, room)
    async with connected(cluster.url) as backend:
        before = {}
        for channel in channels:
            await subscribe(backend, channel)
            (before[channel],) = await publish(backend, channel, 1)
        cluster.kill()
        await cluster.lose_data()
        await cluster.start()
        await until(lambda: backend.alive)
        for channel in channels:
            history = await backend.history(channel, last=9, seen=before[channel])
            assert history.position.epoch != before[channel].epoch
            assert not history.publications


async def test_a_redis_that_is_no_cluster_is_told(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    server = RedisServer(tmp_path_factory.mktemp("single"))
    url = server.url.replace("redis:", "redis+cluster:")
    async with server.running(), connected(url) as backend:
        await until(lambda: "this is no Redis Cluster" in caplog.text)
        assert not backend.alive
