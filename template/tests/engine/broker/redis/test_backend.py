"""The Redis backend alone: what it does with its connections and with Redis' memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from broadcaster import Event
from redis.asyncio import Redis

from app import PROJECT_NAME
from app.realtime.broker import BrokerUnavailable, Publication, Record, Resubscribed
from app.realtime.broker.redis.backend import RedisBackend
from app.realtime.broker.redis.subscriptions import Subscriptions
from app.realtime.protocol import Position
from tests.engine.broker.contract import messages, remembered
from tests.support.broker.redis import FORGETFUL, RedisServer
from tests.support.client import PATIENCE, until

shared_redis = pytest.mark.parametrize("broker_url", ["redis"], indirect=True)


@asynccontextmanager
async def connected(
    url: str, history_size: int = 1000, history_seconds: float = 3600
) -> AsyncIterator[RedisBackend]:
    backend = RedisBackend(url, history_size, history_seconds)
    await backend.connect()
    try:
        yield backend
    finally:
        await backend.disconnect()


async def subscribe(backend: RedisBackend, channel: str) -> None:
    """Subscribe, and wait until every publication is sure to be received."""
    await backend.subscribe(channel)
    await backend.history(channel, last=0)


async def next_event(backend: RedisBackend) -> Event:
    """What is published next."""
    async with asyncio.timeout(PATIENCE):
        return await backend.next_published()


async def next_publication(backend: RedisBackend) -> Publication:
    """What is published next, which has a position."""
    event = await next_event(backend)
    assert isinstance(event, Publication)
    return event


def record(name: str) -> Record:
    return Record(id=name, content=name, message=f"message {name}")


async def test_every_channel_is_told_that_it_was_interrupted(tmp_path: Path) -> None:
    channels = {f"room {number}" for number in range(100)}
    async with (
        RedisServer(tmp_path).running() as server,
        connected(server.url) as backend,
        Redis.from_url(server.url) as redis,
    ):
        for channel in channels:
            await subscribe(backend, channel)
        await redis.client_kill_filter(_type="pubsub")
        events = [await next_event(backend) for _ in channels]
        assert all(isinstance(event, Resubscribed) for event in events)
        assert {event.channel for event in events} == channels


async def test_of_several_subscriptions_of_a_channel_the_last_one_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    confirmed: list[bool] = []
    original = Subscriptions._confirm

    def confirm(self: Subscriptions, channel: str) -> None:
        original(self, channel)
        confirmed.append(self.confirmed(channel).is_set())

    async with RedisServer(tmp_path).running() as server, connected(server.url) as backend:
        await until(lambda: backend.alive)
        monkeypatch.setattr(Subscriptions, "_confirm", confirm)
        server.pause()
        await backend.subscribe("room")
        await backend.unsubscribe("room")  # between the two, nothing is sure to be heard
        await backend.subscribe("room")
        server.resume()
        await until(lambda: len(confirmed) == 2)
    assert confirmed == [False, True]


async def test_positions_are_not_given_twice_after_a_snapshot(tmp_path: Path) -> None:
    async with (
        RedisServer(tmp_path, **FORGETFUL).running() as server,
        connected(server.url) as backend,
        Redis.from_url(server.url) as redis,
    ):
        await subscribe(backend, "room")
        await backend.publish("room", record("in the snapshot"))
        await redis.save()
        await backend.publish("room", record("after the snapshot"))
        before = [await next_publication(backend) for _ in range(2)]
        server.kill()
        await server.start()
        assert isinstance(await next_event(backend), Resubscribed)
        await backend.publish("room", record("after the restart"))
        after = await next_publication(backend)
        assert after.position.epoch != before[0].position.epoch
        assert after.previous == 0


@shared_redis
async def test_a_worker_that_has_seen_more_than_redis_knows_begins_an_epoch(
    broker_url: str, room: str
) -> None:
    async with connected(broker_url) as backend:
        await subscribe(backend, room)
        await backend.publish(room, record("known"))
        known = (await next_publication(backend)).position
        for seen, is_kept in ((known, True), (Position(epoch="other", offset=9), True)):
            history = await backend.history(room, last=9, seen=seen)
            assert (history.position == known) is is_kept
        seen = Position(epoch=known.epoch, offset=known.offset + 1)
        history = await backend.history(room, last=9, seen=seen)
        assert history.position.epoch != known.epoch
        assert history.position.offset == 0
        assert not history.publications


@shared_redis
async def test_a_publish_that_has_seen_more_begins_an_epoch_too(broker_url: str, room: str) -> None:
    async with connected(broker_url) as backend:
        await subscribe(backend, room)
        await backend.publish(room, record("known"))
        known = (await next_publication(backend)).position
        await backend.publish(room, record("next"), known)
        known = (await next_publication(backend)).position
        seen = Position(epoch=known.epoch, offset=known.offset + 9)
        await backend.publish(room, record("known"), seen)
        after = await next_publication(backend)
        assert after.position.epoch != known.epoch
        assert after.previous == 0


@shared_redis
async def test_what_redis_keeps_of_a_channel_is_bounded_and_expires(
    broker_url: str, room: str
) -> None:
    async with (
        connected(broker_url, history_size=5) as backend,
        Redis.from_url(broker_url) as redis,
    ):
        for number in range(20):
            await backend.publish(room, record(str(number)))
        keys = {key async for key in redis.scan_iter(match=f"*:{room}")}
        assert len(keys) == 3
        for key in keys:
            assert await redis.ttl(key) > 0
            match await redis.type(key):
                case b"stream":
                    assert await redis.xlen(key) == 5
                case b"hash" if b":ids:" in key:
                    assert await redis.hlen(key) == 5


async def keys_of(url: str) -> set[str]:
    async with Redis.from_url(url) as redis:
        return {key.decode() async for key in redis.scan_iter()}


async def test_reading_a_channel_stores_nothing_but_the_epoch(tmp_path: Path) -> None:
    async with RedisServer(tmp_path).running() as server, connected(server.url) as backend:
        await until(lambda: backend.alive)
        for number in range(20):
            await subscribe(backend, f"room {number}")
            await backend.history(f"room {number}", last=50)
            await backend.page(f"room {number}", before=None, limit=50)
        assert await keys_of(server.url) == {f"{PROJECT_NAME}:0:{it}" for it in ("canary", "epoch")}


@shared_redis
async def test_a_channel_whose_position_expired_goes_on_above_its_old_offsets(
    broker_url: str, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.realtime.broker.redis.backend.POSITION_SECONDS", 1)
    async with (
        connected(broker_url, history_seconds=1) as backend,
        Redis.from_url(broker_url) as redis,
    ):
        await subscribe(backend, room)
        await backend.publish(room, record("old"))
        old = (await next_publication(backend)).position
        key = f"{PROJECT_NAME}:0:position:{room}"
        async with asyncio.timeout(PATIENCE):
            while await redis.exists(key):
                await asyncio.sleep(0.05)
        # A worker that has seen the old position is still there; one that has not begins anew.
        assert (await backend.history(room, last=9, seen=old)).position == old
        unknown = (await backend.history(room, last=9)).position
        assert (unknown.epoch != old.epoch, unknown.offset) == (True, 0)
        await backend.publish(room, record("new"), old)
        new = await next_publication(backend)
        assert new.position.epoch == old.epoch
        assert new.previous == old.offset < new.position.offset


@shared_redis
async def test_nothing_is_forgotten_in_silence_when_a_position_expired(
    broker_url: str, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.realtime.broker.redis.backend.POSITION_SECONDS", 1)
    async with (
        connected(broker_url, history_seconds=1) as backend,
        Redis.from_url(broker_url) as redis,
    ):
        await subscribe(backend, room)
        seen = await backend.publish(room, record("which the client has seen"))
        await backend.publish(room, record("which the client has missed"))
        assert seen is not None
        async with asyncio.timeout(PATIENCE):
            while await redis.exists(f"{PROJECT_NAME}:0:position:{room}"):
                await asyncio.sleep(0.05)
        await backend.publish(room, record("new"))  # by a worker that has seen nothing of it
        history = await backend.history(room, last=0, after=[seen])
        assert history.position.epoch != seen.epoch
        assert not history.publications


@shared_redis
async def test_a_position_that_was_lost_and_did_not_expire_begins_an_epoch(
    broker_url: str, room: str
) -> None:
    async with connected(broker_url) as backend, Redis.from_url(broker_url) as redis:
        await subscribe(backend, room)
        await backend.publish(room, record("lost"))
        lost = (await next_publication(backend)).position
        await redis.delete(*[key async for key in redis.scan_iter(match=f"*:{room}")])
        assert (await backend.history(room, last=9, seen=lost)).position.epoch != lost.epoch


@shared_redis
async def test_a_channel_whose_keys_were_deleted_gives_no_offset_twice(
    broker_url: str, room: str
) -> None:
    async with connected(broker_url) as backend, Redis.from_url(broker_url) as redis:
        old = await backend.publish(room, record("old"))
        await redis.delete(*[key async for key in redis.scan_iter(match=f"*:{room}")])
        new = await backend.publish(room, record("new"))  # by a worker that has seen nothing of it
        assert old is not None
        assert new is not None
        assert new.epoch == old.epoch
        assert new.offset > old.offset


@shared_redis
@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("position", [], ["new"]),
        ("history", [], ["new"]),
        ("ids", ["one", "two"], ["one", "two", "new"]),
    ],
)
async def test_history_has_no_gap_when_redis_evicted_a_key(
    broker_url: str, room: str, kind: str, before: list[str], after: list[str]
) -> None:
    async with connected(broker_url) as backend, Redis.from_url(broker_url) as redis:
        await subscribe(backend, room)
        for name in ("one", "two"):
            await backend.publish(room, record(name))
        await redis.delete(f"{PROJECT_NAME}:0:{kind}:{room}")
        assert await remembered(backend, room) == before
        await backend.publish(room, record("new"))
        assert await remembered(backend, room) == after
        page = await backend.page(room, before=None, limit=9)
        assert messages(page.publications) == after


@shared_redis
async def test_offsets_grow_when_the_clock_is_behind(broker_url: str, room: str) -> None:
    async with connected(broker_url) as backend, Redis.from_url(broker_url) as redis:
        await subscribe(backend, room)
        await backend.publish(room, record("first"))
        first = (await next_publication(backend)).position
        ahead = first.offset + 3_600_000_000  # an hour
        await redis.hset(f"{PROJECT_NAME}:0:position:{room}", "offset", ahead)
        for name in ("second", "third"):
            await backend.publish(room, record(name))
        second, third = [await next_publication(backend) for _ in range(2)]
        assert second.position.offset == ahead + 1
        assert third.position.offset == ahead + 2


@shared_redis
async def test_cancelling_a_publish_is_never_lost(broker_url: str, room: str) -> None:
    async def publish_for_ever(backend: RedisBackend) -> None:
        while True:
            await backend.publish(room, "text")

    async with connected(broker_url) as backend:
        for number in range(180):
            task = asyncio.create_task(publish_for_ever(backend))
            for _ in range(number % 60):  # so that it is met in every step
                await asyncio.sleep(0)
            task.cancel()
            await until(task.done)


async def test_databases_of_one_redis_are_apart(tmp_path: Path) -> None:
    async with RedisServer(tmp_path).running() as server:
        other_url = server.url.removesuffix("/0") + "/1"
        async with connected(server.url) as one, connected(other_url) as other:
            await subscribe(one, "room")
            await other.publish("room", record("to the other"))
            await one.publish("room", record("to the one"))
            assert (await next_event(one)).message == "message to the one"


@shared_redis
async def test_history_waits_for_the_subscription(broker_url: str) -> None:
    backend = RedisBackend(broker_url, 1000, 3600)  # never connects, so it never hears
    await backend.subscribe("room")
    try:
        with pytest.raises(BrokerUnavailable):
            await backend.history("room", last=0)
    finally:
        await backend.disconnect()


async def test_scripts_that_redis_forgot_are_loaded_and_order_is_kept(tmp_path: Path) -> None:
    async with RedisServer(tmp_path).running() as server, connected(server.url) as backend:
        await subscribe(backend, "room")
        node = backend._servers.place("room").node
        taken = [backend.submit("room", record("known"))]
        node.writes.submit("SCRIPT", "FLUSH")
        taken += [backend.submit("room", record(name)) for name in ("again", "and again")]
        await asyncio.gather(*taken)
        # This time another worker loads it, before the whole batch was read.
        node.writes.submit("SCRIPT", "FLUSH")
        overtaken = backend.submit("room", record("overtaken"))
        node.writes.submit("SCRIPT", "LOAD", backend._scripts.publish.source)
        await backend.submit("room", record("last"))
        with pytest.raises(BrokerUnavailable):
            await overtaken
        heard = [(await next_publication(backend)).message for _ in range(4)]
        assert heard == [f"message {name}" for name in ("known", "again", "and again", "last")]
