"""Sentinels name the master: it fails, is silent or is replaced under load."""

import asyncio
import logging

import pytest

from tests.engine.broker.contract import connected, publish, remembered, subscribe
from tests.engine.broker.redis.load import Load, under_load
from tests.support.broker.redis.sentinel import SERVICE, RedisSentinel
from tests.support.broker.redis.server import RedisServer
from tests.support.client import PATIENCE, until

FAILOVER = 3 * PATIENCE
"""Seconds in which a replica has to take over, on a busy machine."""


async def until_another_is_master(sentinel: RedisSentinel, former: RedisServer) -> None:
    async with asyncio.timeout(FAILOVER):
        while await sentinel.master() is former:
            await asyncio.sleep(0.05)


def verify_deadlines(load: Load) -> None:
    """Every publish was answered in time, and every reader was told of another epoch."""
    assert max(it.slowest for it in load.publishers) < 1.3
    for reader in load.readers:
        assert len({it.epoch for it in reader.began}) == 2


@pytest.mark.parametrize("fault", ["killed", "silent"])
async def test_a_master_fails_under_load(sentinel: RedisSentinel, room: str, fault: str) -> None:
    channels = [f"{room}.1", f"{room}.2"]
    async with under_load(sentinel.url, channels) as load:
        former = await sentinel.master()
        if fault == "killed":
            former.kill()
        else:
            former.pause()
        await until_another_is_master(sentinel, former)
        await load.goes_on(channels, FAILOVER)
        if fault == "silent":
            former.resume()  # and is to become a replica
            await sentinel.until_settled()
            await load.goes_on(channels, FAILOVER)
        await until(lambda: all(it.alive for it in load.backends))
    verify_deadlines(load)
    assert all(it.refused for it in load.publishers)


async def test_a_master_is_replaced_under_load(sentinel: RedisSentinel, room: str) -> None:
    async with under_load(sentinel.url, [room]) as load:
        former = await sentinel.master()
        async with sentinel.sentinels[0].client() as client:
            await client.sentinel_failover(SERVICE)
        await until_another_is_master(sentinel, former)
        await sentinel.until_settled()  # until then, the former one takes what will be lost
        await load.goes_on([room], FAILOVER)
        await until(lambda: all(it.alive for it in load.backends))
    verify_deadlines(load)


async def test_one_sentinel_that_is_dead_and_one_that_is_silent_do_no_harm(
    sentinel: RedisSentinel, room: str
) -> None:
    sentinel.sentinels[0].kill()
    sentinel.sentinels[1].pause()
    async with connected(sentinel.url) as backend:
        await subscribe(backend, room)
        await publish(backend, room, 1)
        assert await remembered(backend, room) == ["1"]
        await until(lambda: backend.alive)


async def test_a_master_that_no_sentinel_knows_is_told(
    sentinel: RedisSentinel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with connected(sentinel.url.replace(SERVICE, "another")) as backend:
        await until(lambda: "no Sentinel knows the master 'another'" in caplog.text)
        assert not backend.alive
