"""Outages of Redis: clients are told, the server survives, and nothing is lost in silence."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest_asyncio
from redis.asyncio import Redis

from app import PROJECT_NAME
from tests.support.auth import sign_in
from tests.support.broker.redis import FORGETFUL, RedisServer
from tests.support.client import JSON, PATIENCE, Client, open_client
from tests.support.pair import deliver_both_ways, pair_in, start_pair, wait_until_ready
from tests.support.server import StartServer


@pytest_asyncio.fixture
async def redis_server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """A Redis that keeps nothing when it ends."""
    async with RedisServer(tmp_path, **FORGETFUL).running() as server:
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


def received(client: Client) -> list[JSON]:
    """The live messages that a client received, which have to be in order and without repeats."""
    joined_at = next(n for n, frame in enumerate(client.seen) if frame["type"] == "joined")
    messages = [frame for frame in client.seen[joined_at:] if frame["type"] == "message"]
    offsets = [frame["offset"] for frame in messages]
    assert offsets == sorted(set(offsets))
    return messages


def frames_of(client: Client, kind: str) -> list[JSON]:
    return [frame for frame in client.seen if frame["type"] == kind]


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


async def test_members_are_told_when_redis_lost_everything(
    start_server: StartServer, redis_server: RedisServer, room: str
) -> None:
    servers = await start_pair(start_server, redis_server.url)
    async with pair_in(room, servers) as clients:
        await deliver_both_ways(room, clients)
        joined = frames_of(clients[0], "joined")[0]
        redis_server.kill()
        await redis_server.start()
        resyncs = [await client.expect("resync", room=room) for client in clients]
        assert resyncs[0] == resyncs[1]
        assert resyncs[0]["epoch"] != joined["epoch"]
        assert resyncs[0]["offset"] == 0
        await clients[0].publish(room, "live")
        for client in clients:
            assert (await client.expect("message"))["data"] == {"text": "live"}
        assert (await clients[0].join(room, joined))["recovered"] is False


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


# --- What was acknowledged ------------------------------------------------------


async def test_acknowledged_messages_survive_a_restart_of_a_redis_that_persists(
    start_server: StartServer, tmp_path: Path, room: str
) -> None:
    async with RedisServer(tmp_path).running() as redis_server:
        servers = await start_pair(start_server, redis_server.url)
        async with pair_in(room, servers) as (alice, bob):
            joined = frames_of(alice, "joined")[0]
            sent = 0
            for _ in range(3):
                publishing = asyncio.create_task(publish_until_refused(alice, room))
                await bob.messages(20)
                redis_server.kill()
                async with asyncio.timeout(2 * PATIENCE):
                    sent += await publishing
                await asyncio.sleep(0.2)
                await redis_server.start()
                await wait_until_ready(servers, patience=5)
            last = await alice.publish(room, "last")
            for client in (alice, bob):
                await client.expect("message", id=last)
                assert not frames_of(client, "resync")
            ids = [frame["id"] for frame in received(alice)]
            assert ids == [frame["id"] for frame in received(bob)]
            assert len(ids) == len(set(ids)) <= sent + 1
            back = await alice.join(room, joined)
            assert back["recovered"] is True
            assert back["epoch"] == joined["epoch"]
            assert [frame["id"] for frame in await alice.messages(len(ids))] == ids
            # Every publish was answered, one way or the other.
            refused = {frame["ref"] for frame in frames_of(alice, "error")}
            assert len(refused | set(ids)) == sent + 1


async def publish_until_refused(client: Client, room: str) -> int:
    """Publish and read until a publish is refused. Returns how many there were."""
    # A publish whose answer was lost may be refused and delivered nevertheless, when Redis is
    # back.
    names = [await client.publish(room, "hello")]
    answered: set[str] = set()
    refused = False
    while not refused:
        try:
            async with asyncio.timeout(1):
                frame = await client.receive()
        except TimeoutError:
            # Redis took all of them and ended before it answered: the next is refused.
            names.append(await client.publish(room, "hello"))
            continue
        if frame["type"] == "message":
            answered.add(frame["id"])
        elif frame["type"] == "error":
            assert frame["code"] == "unavailable"
            answered.add(frame["ref"])
            refused = refused or frame["ref"] in names
        if not refused and len(names) - len(answered) < 10:
            names.append(await client.publish(room, "hello"))
    return len(names)


# --- Redis that is gone, or silent ----------------------------------------------


async def refuse_within(seconds: float, client: Client, room: str) -> None:
    """Check that a publish is refused in time."""
    clock = asyncio.get_running_loop().time
    started_at = clock()
    name = await client.publish(room, "lost")
    await client.expect("error", code="unavailable", room=room, ref=name)
    assert clock() - started_at < seconds


async def test_clients_are_told_of_an_outage_and_the_server_survives_it(
    start_server: StartServer, redis_server: RedisServer, room: str
) -> None:
    servers = await start_pair(start_server, redis_server.url)
    async with pair_in(room, servers) as clients:
        redis_server.kill()
        await refuse_within(1.3, clients[0], room)
        for server in servers:
            await server.wait_for_status("/readyz", 503)
        await clients[0].send(type="join", room=f"{room}.2"[-64:])
        await clients[0].expect("error", code="unavailable", room=f"{room}.2"[-64:])
        await asyncio.sleep(3)  # so that the waits between attempts have grown
        for server in servers:
            await server.wait_for_status("/readyz", 503)
            await server.wait_for_status("/healthz", 200)
        await redis_server.start()
        await wait_until_ready(servers, patience=5)
        for client in clients:
            await client.expect("resync", room=room)
        await deliver_both_ways(room, clients)
        await clients[0].join(f"{room}.2"[-64:])


async def test_a_silent_redis_is_noticed_and_the_server_survives_it(
    start_server: StartServer, redis_server: RedisServer, room: str
) -> None:
    servers = await start_pair(start_server, redis_server.url)
    async with pair_in(room, servers) as clients:
        redis_server.pause()
        await refuse_within(1.3, clients[0], room)
        for server in servers:
            await server.wait_for_status("/readyz", 503, patience=15)
        async with asyncio.timeout(PATIENCE):  # not a second for each
            names = [await clients[0].publish(room, "late") for _ in range(20)]
            for name in names:
                await clients[0].expect("error", code="unavailable", ref=name)
        redis_server.resume()
        await wait_until_ready(servers, patience=5)
        await deliver_both_ways(room, clients)


async def test_members_are_correct_after_an_outage(
    start_server: StartServer, redis_server: RedisServer, room: str
) -> None:
    servers = await start_pair(start_server, redis_server.url)
    async with pair_in(room, servers) as (alice, bob):
        await alice.expect("presence", user=bob.user, event="join")
        redis_server.kill()
        await bob.socket.close()  # which no other worker learns
        await redis_server.start()
        await alice.expect("presence", user=bob.user, event="leave")
        credentials = await sign_in(servers[1].url, "carol")
        async with open_client(servers[1].ws_url, credentials) as carol:
            joined = await carol.join(room)
            everybody = sorted([alice.user, carol.user], key=lambda it: (it["name"], it["id"]))
            assert joined["members"] == everybody
            await alice.expect("presence", user=carol.user, event="join")
            assert (await alice.join(room))["members"] == joined["members"]
