"""A login that ends on one process closes its sockets on all processes."""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from websockets.protocol import State

from app.auth.accounts.live import CHANNEL
from tests.engine.auth.accounts.test_live_logins import PATHS, closed, log_out, serves
from tests.engine.broker.contract import connected, subscribe
from tests.support.auth import sign_in
from tests.support.broker import BROKER
from tests.support.broker_server import BrokerServer
from tests.support.client import Client, Credentials, open_client
from tests.support.pair import start_pair
from tests.support.server import AppServer, StartServer

with_broker = pytest.mark.parametrize("broker_url", [BROKER], indirect=True)


async def start_two(start_server: StartServer, broker_url: str, folder: Path) -> list[AppServer]:
    """Two processes with one broker and one database."""
    database_url = f"sqlite+aiosqlite:///{folder / 'app.db'}"
    return await start_pair(start_server, broker_url, DATABASE_URL=database_url)


def at(server: AppServer, credentials: Credentials) -> Credentials:
    """What a page of this server presents after a login on another one."""
    origin = credentials.headers.get("Origin")
    if origin is None:
        return credentials
    headers = {
        name: server.url if value == origin else value
        for name, value in credentials.headers.items()
    }
    changes: dict[str, Any] = {
        name: server.url for name, value in asdict(credentials).items() if value == origin
    }
    return replace(credentials, **{**changes, "headers": headers})


async def open_sockets(
    stack: AsyncExitStack, server: AppServer, credentials: Credentials
) -> list[Client]:
    """A socket of each endpoint."""
    clients = [
        await stack.enter_async_context(open_client(server.ws_url, at(server, credentials), path))
        for path in PATHS
    ]
    for client in clients:
        await client.expect("welcome")
    return clients


@with_broker
async def test_logging_out_closes_the_sockets_of_that_login_on_every_process(
    start_server: StartServer, broker_url: str, tmp_path: Path
) -> None:
    servers = await start_two(start_server, broker_url, tmp_path)
    this = await sign_in(servers[0].url, "ada")
    of_the_same_user = await sign_in(servers[0].url, "Ada")  # the same account, another login
    of_another = await sign_in(servers[1].url, "grace")
    async with AsyncExitStack() as stack:
        ending, staying = [], []
        for server in servers:
            ending += await open_sockets(stack, server, this)
            for credentials in (of_the_same_user, of_another):
                staying += await open_sockets(stack, server, credentials)
        await log_out(servers[0].url, this)
        async with asyncio.timeout(2):
            codes = await asyncio.gather(*(closed(client) for client in ending))
        assert codes == [4401] * 4
        for client in staying:
            await serves(client)


async def test_malformed_messages_about_logins_do_no_harm(
    start_server: StartServer, broker_server: BrokerServer, tmp_path: Path
) -> None:
    servers = await start_two(start_server, broker_server.url, tmp_path)
    this = await sign_in(servers[0].url, "ada")
    async with AsyncExitStack() as stack, connected(broker_server.url) as elsewhere:
        sockets = [
            client for server in servers for client in await open_sockets(stack, server, this)
        ]
        await subscribe(elsewhere, CHANNEL)
        for login in ("", "\x01", "{}", "x" * 100_000):
            await elsewhere.publish(CHANNEL, login)
        for malformed in (b"", b"  ", b"not in our format"):
            await broker_server.inject(CHANNEL, malformed)
        for client in sockets:
            await serves(client)
        await log_out(servers[0].url, this)
        assert [await closed(client) for client in sockets] == [4401] * 4
    for server in servers:
        assert "Traceback" not in server.read_log()


@pytest.mark.parametrize("outage", ["killed", "paused"])
async def test_a_login_that_ends_during_an_outage_ends_everywhere_afterwards(
    start_server: StartServer, broker_server: BrokerServer, tmp_path: Path, outage: str
) -> None:
    servers = await start_two(start_server, broker_server.url, tmp_path)
    this = await sign_in(servers[0].url, "ada")
    async with AsyncExitStack() as stack:
        here = await open_sockets(stack, servers[0], this)
        there = await open_sockets(stack, servers[1], this)
        if outage == "killed":
            broker_server.kill()
        else:
            broker_server.pause()
        began = time.monotonic()
        await log_out(servers[0].url, this)
        assert time.monotonic() - began < 2
        assert [await closed(client) for client in here] == [4401, 4401]
        assert [client.socket.state for client in there] == [State.OPEN] * 2
        if outage == "killed":
            await broker_server.start()
        else:
            broker_server.resume()
        assert [await closed(client, patience=10) for client in there] == [4401, 4401]
    for server in servers:
        assert "Traceback" not in server.read_log()
