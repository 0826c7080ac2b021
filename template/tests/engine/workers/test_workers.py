"""Several processes on one broker."""

import asyncio
import os
import re
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from websockets.protocol import State

from app.realtime.broker import Record
from tests.engine.broker.contract import connected, subscribe
from tests.engine.example_server import EXAMPLE
from tests.engine.test_metrics import scrape, scrape_until
from tests.support.auth import SETTINGS, sign_in
from tests.support.broker import BROKER
from tests.support.broker_server import BrokerServer
from tests.support.client import open_client, until
from tests.support.pair import deliver_both_ways, pair_in, start_pair
from tests.support.server import PROJECT, AppServer, StartServer, free_port, run_module

with_broker = pytest.mark.parametrize("broker_url", [BROKER], indirect=True)

POISON = "websocket_broker_poison_total"


@with_broker
async def test_two_processes_exchange_messages(
    start_server: StartServer, broker_url: str, room: str
) -> None:
    servers = await start_pair(start_server, broker_url)
    async with pair_in(room, servers) as (alice, bob):
        for number in range(20):
            sender = (alice, bob)[number % 2]
            await sender.publish(room, "hello", id=str(number))
            first, second = [await client.expect("message") for client in (alice, bob)]
            assert first == second
            assert first["id"] == str(number)


@with_broker
async def test_two_processes_know_each_others_members(
    start_server: StartServer, broker_url: str, room: str
) -> None:
    servers = await start_pair(start_server, broker_url)
    async with pair_in(room, servers) as (alice, bob):
        await alice.expect("presence", user=bob.user, event="join")
        members = (await alice.join(room))["members"]
        assert members == sorted([alice.user, bob.user], key=lambda it: (it["name"], it["id"]))
        await bob.send(type="leave", room=room)
        await alice.expect("presence", user=bob.user, event="leave")


@with_broker
async def test_users_of_a_killed_process_leave(
    start_server: StartServer, broker_url: str, room: str
) -> None:
    servers = await start_pair(start_server, broker_url, PING_INTERVAL=2)
    async with pair_in(room, servers) as (alice, bob):
        await alice.expect("presence", user=bob.user, event="join")
        servers[1].kill()
        # Within twice the time of PING_INTERVAL; the test's own way takes a moment.
        async with asyncio.timeout(2 * 2 + 1):
            await alice.expect("presence", user=bob.user, event="leave")
        await alice.expect("message", id=await alice.publish(room, "hello"))
        leaves = [frame for frame in alice.seen if frame.get("event") == "leave"]
        assert [frame["user"] for frame in leaves] == [bob.user]


@with_broker
async def test_workers_of_one_server_exchange_messages(
    start_server: StartServer, broker_url: str, room: str
) -> None:
    server = await start_server(BROKER_URL=broker_url, WEB_CONCURRENCY=2)
    await server.wait_for_status("/readyz", 200)
    credentials = await sign_in(server.url, "alice")
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(8):
            client = await stack.enter_async_context(open_client(server.ws_url, credentials))
            await client.join(room)
            clients.append(client)
        for sender in clients:
            name = await sender.publish(room, "hello")
            for client in clients:
                await client.expect("message", id=name)


@with_broker
async def test_sockets_of_a_killed_worker_are_no_longer_counted(
    start_server: StartServer, broker_url: str
) -> None:
    server = await start_server(BROKER_URL=broker_url, WEB_CONCURRENCY=2)
    credentials = await sign_in(server.url, "alice")
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(open_client(server.ws_url, credentials))
            for _ in range(8)
        ]
        await scrape_until(server, websocket_connections=8)
        workers = re.findall(r"Started server process \[(\d+)\]", server.read_log())
        os.kill(int(workers[0]), signal.SIGKILL)
        started = "Application startup complete"
        await until(lambda: server.read_log().count(started) == 3, patience=20)
        left = sum(client.socket.state is State.OPEN for client in clients)
        await scrape_until(server, websocket_connections=left)


BREAKS_WORKERS = """
import gc
import sys

def fail():
    raise RuntimeError("this worker can't start")

if "--multiprocessing-fork" in sys.orig_argv:
    gc.freeze = fail  # which the lifespan calls
"""


@with_broker
def test_workers_that_cannot_start_end_the_server_with_an_error(
    broker_url: str, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(BREAKS_WORKERS)
    settings = {
        "BROKER_URL": broker_url,
        "WEB_CONCURRENCY": "2",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(PROJECT)]),
    }
    ended = run_module(tmp_path, *EXAMPLE, PORT=str(free_port()), **SETTINGS, **settings)
    assert ended.returncode != 0
    assert "this worker can't start" in ended.stderr


@with_broker
async def test_many_publish_at_once(start_server: StartServer, broker_url: str, room: str) -> None:
    server = await start_server(BROKER_URL=broker_url, MAX_CONNECTIONS_PER_USER=0)
    credentials = await sign_in(server.url, "alice")
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(150):
            client = await stack.enter_async_context(open_client(server.ws_url, credentials))
            await client.join(room)
            clients.append(client)
        await asyncio.gather(*(client.publish(room, "hello") for client in clients))
        for client in clients:
            offsets = [message["offset"] for message in await client.messages(len(clients))]
            assert offsets == sorted(set(offsets))


@pytest.mark.parametrize("channel", ["room:{}", "presence"])
async def test_a_malformed_payload_is_counted_and_skipped(
    start_server: StartServer, broker_server: BrokerServer, room: str, channel: str
) -> None:
    servers = await start_pair(start_server, broker_server.url)
    poison = [b"", b"{", b"   {", b"   {}", b"epoch 1 0", b"epoch one 0 {}"]
    async with pair_in(room, servers) as (alice, bob):
        before = (await scrape(servers[0]))[POISON]
        for payload in poison:
            await broker_server.inject(channel.format(room), payload)
        await deliver_both_ways(room, [alice, bob])
        for server in servers:
            await scrape_until(server, **{POISON: before + len(poison)})
        await bob.send(type="leave", room=room)
        await alice.expect("presence", user=bob.user, event="leave")


@with_broker
@pytest.mark.parametrize("poison", ["", "{", "{}", "\ud7ff"], ids=ascii)
async def test_a_malformed_record_is_counted_and_skipped(
    server: AppServer, broker_url: str, room: str, poison: str
) -> None:
    async with pair_in(room, [server, server]) as clients, connected(broker_url) as elsewhere:
        await subscribe(elsewhere, room)  # which waits until it is connected
        before = (await scrape(server))[POISON]
        await elsewhere.publish(f"room:{room}", Record("poison", "", poison))
        await deliver_both_ways(room, clients)
        assert (await scrape(server))[POISON] == before + 1
        # It has a position, and is left out of history as well.
        start = len(clients[0].seen)
        await clients[0].join(room)
        await clients[0].on_the_way()
        kinds = [frame["type"] for frame in clients[0].seen[start:]]
        assert kinds.count("message") == 2
