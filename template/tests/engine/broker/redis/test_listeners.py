"""Listeners outlive the connection to Redis."""

from pathlib import Path

from broadcaster import Event
from redis.asyncio import Redis

from app.realtime.broker import Publication, Resubscribed
from tests.engine.broker.redis.test_backend import connected, record
from tests.support.broker.redis import RedisServer
from tests.support.client import until


async def test_a_listener_is_told_of_an_interruption_and_hears_what_follows(
    tmp_path: Path,
) -> None:
    heard: list[Event] = []
    async with (
        RedisServer(tmp_path).running() as server,
        connected(server.url) as backend,
        Redis.from_url(server.url) as redis,
    ):
        for channel in ("room", "left"):
            await backend.listen(channel, heard.append)
            await backend.history(channel, last=0)
        await backend.publish("room", record("before"))
        await until(lambda: len(heard) == 1)
        await redis.client_kill_filter(_type="pubsub")
        await backend.ignore("left")
        await until(lambda: len(heard) == 2)
        await backend.history("room", last=0)
        await backend.publish("left", record("elsewhere"))
        await backend.publish("room", record("after"))
        await until(lambda: len(heard) == 3)
    before, interruption, after = heard
    assert isinstance(interruption, Resubscribed)
    assert [event.channel for event in heard] == ["room"] * 3
    assert [before.message, after.message] == ["message before", "message after"]
    assert isinstance(before, Publication)
    assert isinstance(after, Publication)
    assert after.previous == before.position.offset


async def test_who_listens_anew_while_redis_is_away_is_subscribed_once_it_is_back(
    tmp_path: Path,
) -> None:
    first: list[Event] = []
    second: list[Event] = []
    async with RedisServer(tmp_path).running() as server, connected(server.url) as backend:
        await backend.listen("room", first.append)
        await backend.history("room", last=0)
        server.kill()
        await until(lambda: not backend.alive)
        await backend.ignore("room")
        await backend.listen("room", second.append)
        await server.start()
        await until(lambda: backend.alive)
        await backend.history("room", last=0)
        await backend.publish("room", record("after"))
        await until(lambda: bool(second))
        async with Redis.from_url(server.url) as redis:
            name = f"{backend._servers.place('room').prefix}room"
            assert await redis.pubsub_numsub(name) == [(name.encode(), 1)]
    assert first == []
    assert [event.message for event in second] == ["message after"]
