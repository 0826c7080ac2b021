"""What Redis remembers of rooms that nobody has used for a while."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from app import PROJECT_NAME
from app.realtime.broker import Record
from app.realtime.broker.redis.backend import RedisBackend
from app.realtime.protocol import Position
from tests.support.broker.redis import RedisServer

MOST = 10
"""Positions of channels without a history that may be remembered in these tests."""

PREFIX = f"{PROJECT_NAME}:0:"


@pytest_asyncio.fixture
async def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A Redis of its own, which is to remember few positions."""
    monkeypatch.setattr("app.realtime.broker.redis.backend.MAX_POSITIONS", MOST)
    async with RedisServer(tmp_path).running() as server:
        yield server.url


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[RedisBackend]:
    backend = RedisBackend(url, history_size=10, history_seconds=3600)
    await backend.connect()
    try:
        yield backend
    finally:
        await backend.disconnect()


async def publish(backend: RedisBackend, channel: str, name: str = "record") -> Position:
    position = await backend.publish(channel, Record(name, name, name))
    assert position is not None
    return position


async def age(redis: Redis, channel: str) -> None:
    """Have the last publication of a channel be two hours old, and its history expire."""
    await redis.hincrby(f"{PREFIX}position:{channel}", "offset", -2 * 3600 * 1_000_000)
    await redis.delete(f"{PREFIX}history:{channel}", f"{PREFIX}ids:{channel}")


async def positions(redis: Redis) -> set[str]:
    """The channels of which Redis remembers where they stand."""
    keys = {key.decode() async for key in redis.scan_iter(match=f"{PREFIX}position:*")}
    assert await redis.zcard(f"{PREFIX}positions") == len(keys)
    return {key.removeprefix(f"{PREFIX}position:") for key in keys}


async def test_positions_without_a_history_are_bounded(url: str) -> None:
    async with connected(url) as backend, Redis.from_url(url) as redis:
        for number in range(30):
            await publish(backend, f"old {number:02}")
        assert len(await positions(redis)) == 30
        for number in range(30):
            await age(redis, f"old {number:02}")
        await publish(backend, "old 00", "another")
        for number in range(20):
            await publish(backend, f"new {number:02}")
        # Each new one makes room for two: those with a history stay, whatever their number.
        known = await positions(redis)
        assert known == {"old 00", *(f"new {number:02}" for number in range(20))}


async def test_a_client_that_missed_what_is_forgotten_is_told(url: str) -> None:
    async with connected(url) as backend, Redis.from_url(url) as redis:
        seen = await publish(backend, "room", "which the client has seen")
        await publish(backend, "room", "which the client has missed")
        await backend.subscribe("room")
        await age(redis, "room")
        for number in range(MOST):
            await publish(backend, f"other {number}")
        await publish(backend, "room", "new")
        history = await backend.history("room", last=0, after=[seen])
        assert history.position.epoch != seen.epoch
        assert not history.publications


async def test_channels_that_stay_keep_their_epoch(url: str) -> None:
    async with connected(url) as backend, Redis.from_url(url) as redis:
        await publish(backend, "first")
        await age(redis, "first")
        kept = await publish(backend, "kept")
        for number in range(MOST):
            await publish(backend, f"other {number}")
        assert (await publish(backend, "first", "again")).epoch != kept.epoch
        assert (await publish(backend, "kept", "again")).epoch == kept.epoch


async def test_the_list_of_positions_expires_with_the_last_of_them(url: str) -> None:
    async with connected(url) as backend, Redis.from_url(url) as redis:
        await publish(backend, "room")
        await redis.expire(f"{PREFIX}positions", 10)
        await publish(backend, "room", "another")
        lives = [await redis.ttl(f"{PREFIX}{key}") for key in ("position:room", "positions")]
        assert lives[0] == lives[1] > 10
