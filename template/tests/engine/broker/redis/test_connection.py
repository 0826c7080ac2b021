"""The connections to Redis are cut, refused or lead to another server, and come back."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from struct import pack

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from app import PROJECT_NAME
from app.realtime.broker.redis import subscriptions
from app.realtime.broker.redis.subscriptions import BACKOFF_BASE, BACKOFF_CAP
from tests.engine.broker.redis.test_backend import connected, record
from tests.engine.test_metrics import scrape, scrape_until
from tests.support.auth import sign_in
from tests.support.broker.redis import FORGETFUL, RedisServer
from tests.support.client import PATIENCE, open_client, until
from tests.support.pair import deliver_both_ways, pair_in, start_pair, wait_until_ready
from tests.support.server import AppServer, StartServer, free_port

RECONNECTS = "websocket_broker_reconnects_total"
UP = "websocket_broker_up"


@pytest_asyncio.fixture
async def redis_server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """A Redis that keeps nothing when it ends."""
    async with RedisServer(tmp_path, **FORGETFUL).running() as server:
        yield server


class Relay:
    """An address that leads to a Redis, and later perhaps to another."""

    def __init__(self, target: RedisServer) -> None:
        self.target = target
        self.loses: bytes | None = None
        """What Redis says that has this in it does not arrive."""
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self._writers: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._connect, "127.0.0.1", self._port)
        try:
            yield
        finally:
            server.close()
            self.reset()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError), closing(writer):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target.port)
            with closing(far_writer):
                self._writers += [writer, far_writer]
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._copy(reader, far_writer))
                    tasks.create_task(self._copy(far_reader, writer, are_answers=True))

    async def _copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        are_answers: bool = False,
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if not (are_answers and self.loses is not None and self.loses in data):
                    writer.write(data)
        writer.close()

    def reset(self) -> None:
        """End every connection with an RST (`man 7 socket`, SO_LINGER)."""
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
            writer.transport.abort()
        self._writers.clear()


async def reconnected(server: AppServer, times: int) -> None:
    """Wait until a canary came through after so many reconnections."""
    async with asyncio.timeout(3 * PATIENCE):
        while (await scrape(server))[RECONNECTS] < times:
            await asyncio.sleep(0.05)


async def test_connections_that_are_reset_come_back(
    start_server: StartServer, redis_server: RedisServer, room: str
) -> None:
    relay = Relay(redis_server)
    async with relay.running():
        servers = await start_pair(start_server, relay.url)
        async with pair_in(room, servers) as clients:
            for times in range(1, 4):
                await deliver_both_ways(room, clients)
                await asyncio.sleep(0.1)  # nothing is under way
                relay.reset()
                for server in servers:
                    await reconnected(server, times)
            await deliver_both_ways(room, clients)
            for server in servers:
                assert "Traceback" not in server.read_log()


async def test_a_server_that_refuses_to_write_is_told_and_outlived(
    start_server: StartServer, redis_server: RedisServer, room: str
) -> None:
    servers = await start_pair(start_server, redis_server.url)
    async with pair_in(room, servers) as clients, Redis.from_url(redis_server.url) as redis:
        await deliver_both_ways(room, clients)
        # As when memory is full, the disk is, or a replica took the master's place.
        await redis.config_set("min-replicas-to-write", 1)
        name = await clients[0].publish(room, "lost")
        await clients[0].expect("error", code="unavailable", ref=name)
        for server in servers:
            await server.wait_for_status("/readyz", 503, patience=5)
            await scrape_until(server, **{UP: 0})
            log = server.read_log()
            assert log.count("Redis does not take messages: ResponseError NOREPLICAS") == 1
        await redis.config_set("min-replicas-to-write", 0)
        await wait_until_ready(servers)
        await deliver_both_ways(room, clients)
        for server in servers:
            await scrape_until(server, **{UP: 1, RECONNECTS: 0})  # the connection was good
        refused = "websocket_publications_refused_total reason=unavailable"
        assert (await scrape(servers[0]))[refused] == 1


@pytest.fixture
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "CANARY_INTERVAL", 0.05)
    monkeypatch.setattr(subscriptions, "CANARY_DEADLINE", 0.5)


@pytest.mark.usefixtures("short_silence")
async def test_a_connection_stays_while_redis_refuses_to_write(redis_server: RedisServer) -> None:
    async with connected(redis_server.url) as backend, Redis.from_url(redis_server.url) as redis:
        await until(lambda: backend.alive)
        await redis.config_set("min-replicas-to-write", 1)
        await until(lambda: not backend.alive)
        await asyncio.sleep(1)  # longer than silence would be borne
        assert not backend.alive
        await redis.config_set("min-replicas-to-write", 0)
        await until(lambda: backend.alive)
        assert backend._servers.place("room").node.subscriptions._connects == 1


@pytest.mark.usefixtures("short_silence")
async def test_a_connection_on_which_nothing_is_heard_is_made_again(
    redis_server: RedisServer, room: str
) -> None:
    relay = Relay(redis_server)
    async with relay.running(), connected(relay.url) as backend:
        await until(lambda: backend.alive)
        relay.loses = b"canary:"
        await until(lambda: not backend.alive)
        await backend.publish(room, record("which Redis takes all the same"))
        assert not backend.alive
        relay.loses = None
        await until(lambda: backend.alive)
        assert backend._servers.place("room").node.subscriptions._connects == 2


async def test_an_address_that_leads_to_another_server_is_followed(
    start_server: StartServer, tmp_path: Path, room: str
) -> None:
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    one = RedisServer(folders[0])
    other = RedisServer(folders[1], **{"repl-diskless-sync-delay": "0"})
    relay = Relay(one)
    async with one.running(), other.running(), relay.running():
        servers = await start_pair(start_server, relay.url)
        async with pair_in(room, servers) as clients, Redis.from_url(one.url) as redis:
            await deliver_both_ways(room, clients)
            relay.target = other
            await redis.replicaof("127.0.0.1", str(other.port))  # whose clients stay connected
            await until(lambda: all("ReadOnlyError" in server.read_log() for server in servers))
            await wait_until_ready(servers)
            await clients[0].publish(room, "which begins the room anew")
            for client in clients:
                await client.expect("resync", room=room)
            await deliver_both_ways(room, clients)


@pytest.mark.usefixtures("short_silence")
async def test_a_connection_that_hears_a_replica_is_made_again(tmp_path: Path, room: str) -> None:
    # A replica publishes what its master tells it, until it loses the master in silence.
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    one, other = (RedisServer(it, **{"repl-diskless-sync-delay": "0"}) for it in folders)
    relay = Relay(one)
    async with one.running(), other.running(), relay.running(), connected(relay.url) as backend:
        await backend.subscribe(room)
        await until(lambda: backend.alive)
        relay.target = other
        async with Redis.from_url(one.url) as redis:
            await redis.replicaof("127.0.0.1", str(other.port))
            async with asyncio.timeout(PATIENCE):
                while any(await redis.client_list(_type="pubsub")):
                    await asyncio.sleep(0.05)
        await until(lambda: backend.alive)
        async with Redis.from_url(other.url) as redis:
            assert len(await redis.client_list(_type="pubsub")) == 1


async def test_a_replica_that_takes_over_begins_anew(
    start_server: StartServer, tmp_path: Path, room: str
) -> None:
    # It may not have heard of the last publications, though it keeps what it has.
    options = {"repl-diskless-sync-delay": "0"}
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    one, other = (RedisServer(folder, **options) for folder in folders)
    relay = Relay(one)
    async with one.running(), other.running(), relay.running():
        servers = await start_pair(start_server, relay.url)
        async with pair_in(room, servers) as clients, Redis.from_url(other.url) as redis:
            await deliver_both_ways(room, clients)
            await redis.replicaof("127.0.0.1", str(one.port))
            async with asyncio.timeout(PATIENCE):
                while (await redis.info("replication"))["master_link_status"] != "up":
                    await asyncio.sleep(0.05)
            await deliver_both_ways(room, clients)
            one.kill()
            await redis.replicaof("NO", "ONE")
            relay.target = other
            await wait_until_ready(servers)
            epoch = clients[0].seen[1]["epoch"]
            for client in clients:
                assert (await client.expect("resync", room=room))["epoch"] != epoch
            await deliver_both_ways(room, clients)


async def test_the_logs_hold_no_secret_and_no_payload(
    start_server: StartServer, tmp_path: Path, room: str
) -> None:
    async with RedisServer(tmp_path, requirepass="s3cret").running() as redis_server:
        url = redis_server.url
        server = await start_server(BROKER_URL=url, LOG_LEVEL="debug", PING_INTERVAL=1)
        await server.wait_for_status("/readyz", 200)
        credentials = await sign_in(server.url, "alice")
        async with open_client(server.ws_url, credentials) as alice, Redis.from_url(url) as redis:
            await alice.join(room)
            await alice.expect("message", id=await alice.publish(room, "marker"))
            for poison in ("marker", "epoch 7 6 marker", "   marker"):
                for channel in ("presence", f"room:{room}"):
                    await redis.publish(f"{PROJECT_NAME}:0:{channel}", poison)
            await redis.client_kill_filter(_type="pubsub")
            await scrape_until(server, **{RECONNECTS: 1, "websocket_broker_poison_total": 6})
            redis_server.kill()
            await server.wait_for_status("/readyz", 503)
            name = await alice.publish(room, "marker")
            await alice.expect("error", code="unavailable", ref=name)
        log = server.read_log()
    assert "skipped a malformed" in log
    assert "marker" not in log
    assert "s3cret" not in log


async def test_reconnecting_has_full_jitter_and_no_end(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ceilings: list[float] = []

    def uniform(low: float, high: float) -> float:
        assert low == 0
        ceilings.append(high)
        return 0

    redis_server.kill()
    async with connected(redis_server.url) as backend:
        monkeypatch.setattr(random, "uniform", uniform)
        await until(lambda: len(ceilings) > 100)
        assert ceilings[:3] == [BACKOFF_BASE, 2 * BACKOFF_BASE, 4 * BACKOFF_BASE]
        assert set(ceilings[10:]) == {BACKOFF_CAP}
        await redis_server.start()
        await until(lambda: backend.alive)
