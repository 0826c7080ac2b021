"""What Redis adds: several processes, and outages that they outlive."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from app import PROJECT_NAME
from app.broker import BrokerUnavailable
from app.broker.redis import RedisBackend
from tests.auth import SETTINGS, sign_in
from tests.broker.redis import RedisServer, serve
from tests.client import PATIENCE, Client, open_client, until
from tests.conftest import StartServer
from tests.server import AppServer, free_port, run_module

PAIR = ("alice", "bob")


@pytest_asyncio.fixture(scope="session")
async def redis_url(folder: Path) -> AsyncIterator[str]:
    async with serve(folder) as url:
        yield url


@pytest_asyncio.fixture
async def redis_server(folder: Path) -> AsyncIterator[RedisServer]:
    """A Redis that a test may kill."""
    server = RedisServer(folder)
    await server.start()
    try:
        yield server
    finally:
        server.kill()


async def start_pair(start_server: StartServer, url: str) -> list[AppServer]:
    """Two processes on one Redis."""
    starts = (start_server(BROKER_URL=url, PING_INTERVAL=1) for _ in PAIR)
    return list(await asyncio.gather(*starts))


async def connect_pair(stack: AsyncExitStack, servers: list[AppServer]) -> list[Client]:
    """A user on each process, both in one room."""
    clients = []
    for server, name in zip(servers, PAIR, strict=True):
        credentials = await sign_in(server.url, name)
        clients.append(await stack.enter_async_context(open_client(server.ws_url, credentials)))
        await clients[-1].join("pair")
    return clients


async def test_two_processes_exchange_messages(start_server: StartServer, redis_url: str) -> None:
    servers = await start_pair(start_server, redis_url)
    async with AsyncExitStack() as stack:
        alice, bob = await connect_pair(stack, servers)
        for number in range(20):
            sender = (alice, bob)[number % 2]
            await sender.publish("pair", "hello", id=str(number))
            offsets = [
                (await client.expect("message", id=str(number)))["offset"]
                for client in (alice, bob)
            ]
            assert offsets[0] == offsets[1]


async def test_two_processes_know_each_others_members(
    start_server: StartServer, redis_url: str
) -> None:
    servers = await start_pair(start_server, redis_url)
    async with AsyncExitStack() as stack:
        alice, bob = await connect_pair(stack, servers)
        name = user_of(bob)
        await alice.expect("presence", user=name, event="join")
        members = (await alice.join("pair"))["members"]
        assert members == sorted([user_of(alice), name])
        await bob.send(type="leave", room="pair")
        await alice.expect("presence", user=name, event="leave")


async def test_users_of_a_killed_process_leave(start_server: StartServer, redis_url: str) -> None:
    servers = await start_pair(start_server, redis_url)
    async with AsyncExitStack() as stack:
        alice, bob = await connect_pair(stack, servers)
        name = user_of(bob)
        await alice.expect("presence", user=name, event="join")
        servers[1].kill()
        await alice.expect("presence", user=name, event="leave")


async def test_workers_of_one_server_exchange_messages(
    start_server: StartServer, redis_url: str
) -> None:
    server = await start_server(BROKER_URL=redis_url, WEB_CONCURRENCY=2)
    await server.wait_for_status("/readyz", 200)
    credentials = await sign_in(server.url, "alice")
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(8):
            client = await stack.enter_async_context(open_client(server.ws_url, credentials))
            await client.join("workers")
            clients.append(client)
        for sender in clients:
            await sender.publish("workers", "hello", id=str(id(sender)))
            for client in clients:
                await client.expect("message", id=str(id(sender)))


def test_workers_that_cannot_start_end_the_server_with_an_error(tmp_path: Path) -> None:
    bad = {"BROKER_URL": "redis://localhost?socket_timeout=soon", "WEB_CONCURRENCY": "2"}
    ended = run_module(tmp_path, "app", PORT=str(free_port()), **SETTINGS, **bad)
    assert ended.returncode != 0
    assert "socket_timeout" in ended.stderr


async def test_many_publish_at_once(start_server: StartServer, redis_url: str) -> None:
    server = await start_server(BROKER_URL=redis_url)
    credentials = await sign_in(server.url, "alice")
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(150):
            client = await stack.enter_async_context(open_client(server.ws_url, credentials))
            await client.join("crowd")
            clients.append(client)
        await asyncio.gather(
            *(client.publish("crowd", "hello", id=str(n)) for n, client in enumerate(clients))
        )
        for number, client in enumerate(clients):
            await client.expect("message", id=str(number))


async def test_outage_is_told_and_outlived(
    start_server: StartServer, redis_server: RedisServer
) -> None:
    servers = await start_pair(start_server, redis_server.url)
    async with AsyncExitStack() as stack:
        clients = await connect_pair(stack, servers)
        redis_server.kill()
        for server in servers:
            await server.wait_for_status("/readyz", 503)
        await clients[0].publish("pair", "lost", id="lost")
        await clients[0].expect("error", code="unavailable", room="pair", ref="lost")
        await clients[0].send(type="join", room="other")
        await clients[0].expect("error", code="unavailable", room="other")
        await asyncio.sleep(5)
        for server in servers:
            await server.wait_for_status("/readyz", 503)
            await server.wait_for_status("/healthz", 200)
        await redis_server.start()
        for server in servers:
            await server.wait_for_status("/readyz", 200, patience=5)
        await deliver_both_ways(clients)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[RedisBackend]:
    backend = RedisBackend(url)
    await backend.connect()
    try:
        await until(lambda: backend.alive)
        yield backend
    finally:
        await backend.disconnect()


async def test_every_publish_after_an_outage_is_taken(redis_server: RedisServer) -> None:
    async with connected(redis_server.url) as backend:
        # Leaves as many idle connections, which Redis then closes.
        await asyncio.gather(*(backend.publish("room", "before") for _ in range(10)))
        redis_server.kill()
        await until(lambda: not backend.alive)
        with pytest.raises(BrokerUnavailable):
            await backend.publish("room", "meanwhile")
        await redis_server.start()
        await until(lambda: backend.alive)
        await asyncio.gather(*(backend.publish("room", "after") for _ in range(10)))


async def test_positions_are_not_given_twice_after_a_restart(tmp_path: Path) -> None:
    redis_server = RedisServer(tmp_path)
    await redis_server.start()
    try:
        async with (
            connected(redis_server.url) as backend,
            Redis.from_url(redis_server.url) as redis,
        ):
            await backend.subscribe("room")
            await backend.publish("room", "in the snapshot")
            await redis.save()
            await backend.publish("room", "after the snapshot")
            before = [await backend.next_published() for _ in range(2)]
            redis_server.kill()
            await until(lambda: not backend.alive)
            await redis_server.start()
            await until(lambda: backend.alive)
            await backend.position("room")
            await backend.publish("room", "after the restart")
            after = await backend.next_published()
            assert after.position.epoch != before[0].position.epoch
            assert [publication.position.offset for publication in [*before, after]] == [1, 2, 1]
    finally:
        redis_server.kill()


async def test_nothing_is_recovered_that_this_worker_did_not_hear(
    start_server: StartServer, redis_url: str
) -> None:
    servers = await start_pair(start_server, redis_url)
    async with (
        AsyncExitStack() as stack,
        Redis.from_url(redis_url) as redis,
        connected(redis_url) as elsewhere,
    ):
        alice, _ = await connect_pair(stack, servers)
        joined = await alice.join("pair")
        await redis.client_kill_filter(_type="pubsub")
        await elsewhere.publish("room:pair", "unheard")
        since = {"epoch": joined["epoch"], "offset": joined["offset"]}
        await alice.send(type="join", room="pair", since=since)
        assert (await alice.expect("joined"))["recovered"] is False


async def test_cancelling_a_publish_is_never_lost(redis_url: str) -> None:
    async def publish_for_ever(backend: RedisBackend) -> None:
        while True:
            await backend.publish("room", "text")

    async with connected(redis_url) as backend:
        for number in range(300):
            task = asyncio.create_task(publish_for_ever(backend))
            for _ in range(number % 60):  # so that it is met in every step
                await asyncio.sleep(0)
            task.cancel()
            await until(task.done)


async def test_databases_of_one_redis_are_apart(redis_server: RedisServer) -> None:
    other_url = redis_server.url.removesuffix("/0") + "/1"
    async with connected(redis_server.url) as one, connected(other_url) as other:
        await one.subscribe("room")
        await one.position("room")
        await other.publish("room", "to the other")
        await one.publish("room", "to the one")
        assert (await one.next_published()).message == "to the one"


async def test_position_waits_for_the_subscription(redis_url: str) -> None:
    backend = RedisBackend(redis_url)  # never connects, so it never hears
    await backend.subscribe("room")
    try:
        with pytest.raises(BrokerUnavailable):
            await backend.position("room")
    finally:
        await backend.disconnect()


async def test_silent_redis_is_noticed_and_outlived(
    start_server: StartServer, redis_server: RedisServer
) -> None:
    servers = await start_pair(start_server, redis_server.url)
    async with AsyncExitStack() as stack:
        clients = await connect_pair(stack, servers)
        redis_server.pause()
        for server in servers:
            await server.wait_for_status("/readyz", 503, patience=15)
        await clients[0].publish("pair", "late", id="late")
        await clients[0].expect("error", code="unavailable", ref="late")
        async with asyncio.timeout(PATIENCE):  # not a second for each
            for number in range(20):
                await clients[0].publish("pair", "late", id=str(number))
            for number in range(20):
                await clients[0].expect("error", code="unavailable", ref=str(number))
        redis_server.resume()
        for server in servers:
            await server.wait_for_status("/readyz", 200, patience=5)
        await deliver_both_ways(clients)


async def test_what_is_no_publication_is_skipped(start_server: StartServer, redis_url: str) -> None:
    servers = await start_pair(start_server, redis_url)
    async with AsyncExitStack() as stack, Redis.from_url(redis_url) as redis:
        clients = await connect_pair(stack, servers)
        for poison in (b"", b"\xff", b"{", b"epoch 1 {}", b"epoch one {}", b'e -1 {"id": "1"}'):
            heard = await redis.publish(f"{PROJECT_NAME}:0:room:pair", poison)
            assert heard == len(servers)
        await deliver_both_ways(clients)


def user_of(client: Client) -> str:
    """The name in the welcome that the client has seen."""
    return str(next(frame["user"] for frame in client.seen if frame["type"] == "welcome"))


async def deliver_both_ways(clients: list[Client]) -> None:
    for sender in clients:
        await sender.publish("pair", "hello", id=f"hello {id(sender)}")
        for client in clients:
            await client.expect("message", id=f"hello {id(sender)}")
