"""A database outage: new clients are told to try again, and open sockets stay open."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.exc import InternalError
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.auth.accounts.database import Database, DatabaseUnavailable, open_database
from app.auth.accounts.store import Accounts
from tests.engine.auth.accounts.relay import Relay
from tests.support.auth import sign_in
from tests.support.auth.accounts import PASSWORD
from tests.support.client import Credentials, open_client
from tests.support.server import AppServer, StartServer

pytest_plugins = ["tests.engine.auth.accounts.database"]


@dataclass(frozen=True)
class Prepared(Credentials):
    """Credentials that send no further request."""

    prepared: str = ""

    async def query(self) -> str:
        return self.prepared


async def prepare(credentials: Credentials) -> Prepared:
    return Prepared(
        headers=credentials.headers,
        subprotocols=credentials.subprotocols,
        first_frame=credentials.first_frame,
        prepared=await credentials.query(),
    )


async def refusal(server: AppServer, credentials: Credentials) -> int:
    """The status of a refused handshake, or the code that closed the socket."""
    try:
        async with open_client(server.ws_url, credentials) as client:
            await client.socket.recv()
    except InvalidStatus as refused:
        response = refused.response
        return response.status_code if response.headers["Retry-After"] == "5" else 0
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd is not None else 1006
    return 101


async def test_clients_are_told_to_try_again_during_a_database_outage_and_are_served_afterwards(
    start_server: StartServer,
    database_url: str,
    outage: Callable[[str], AbstractAsyncContextManager[None]],
    room: str,
) -> None:
    server = await start_server(DATABASE_URL=database_url)
    credentials = await sign_in(server.url, "alice")
    newcomer = await prepare(credentials)
    form = {"username": "alice", "password": "a wrong password"}
    async with (
        httpx.AsyncClient(base_url=server.url, timeout=20) as http,
        open_client(server.ws_url, credentials) as client,
    ):
        await client.join(room)
        async with outage(database_url):
            known, unknown, refused = await asyncio.gather(
                http.get("/auth/me", headers=credentials.headers),
                http.post("/auth/login", data=form),
                refusal(server, newcomer),
            )
            await client.publish(room, "still here", id="1")
            await client.expect("message", id="1")
        assert (known.status_code, unknown.status_code) == (503, 503)
        assert "try again" in known.json()["detail"]
        assert known.headers["Retry-After"] == "5"
        assert refused == (1013 if credentials.first_frame is not None else 503)

        known = await http.get("/auth/me", headers=credentials.headers)
        assert known.json() == {"id": client.user["id"], "username": "alice"}
        assert (await http.post("/auth/login", data=form)).status_code == 401
        async with open_client(server.ws_url, credentials) as other:
            await other.expect("welcome")
    log = server.read_log()
    assert "the database can't be used" in log
    assert "Traceback" not in log


async def test_a_database_that_refuses_connections_is_one_warning_for_each_client(
    start_server: StartServer, relay: Relay
) -> None:
    server = await start_server(DATABASE_URL=relay.url)
    credentials = await sign_in(server.url, "alice")
    newcomers = [await prepare(credentials) for _ in range(3)]
    before = len(server.read_log())

    relay.cut()  # also the connections in the pool
    refused = [await refusal(server, newcomer) for newcomer in newcomers]
    async with httpx.AsyncClient(base_url=server.url, timeout=20) as http:
        known = await http.get("/auth/me", headers=credentials.headers)
    assert (known.status_code, known.headers["Retry-After"]) == (503, "5")
    assert refused == [1013 if credentials.first_frame is not None else 503] * 3

    lines = server.read_log()[before:].splitlines()
    warnings = [line for line in lines if "the database can't be used" in line]
    assert len(warnings) == len(refused) + 1
    assert not [line for line in lines if "Traceback" in line or "ERROR" in line]

    await relay.open()
    async with open_client(server.ws_url, credentials) as client:
        await client.expect("welcome")


async def test_a_database_that_hangs_makes_nobody_wait_for_long(relay: Relay) -> None:
    async with open_database(relay.url) as database:
        accounts = Accounts(database)
        await accounts.add("Ada", PASSWORD)
        relay.hold_back()
        for _ in range(2):  # on a connection of the pool, and on a new one
            with pytest.raises(DatabaseUnavailable):
                async with asyncio.timeout(10), database.transaction(seconds=0.2) as session:
                    await session.execute(select(1))
        relay.let_through()
        assert await accounts.verify("Ada", PASSWORD)


async def test_a_connection_that_ends_in_a_transaction_is_an_outage(database: Database) -> None:
    """What asyncpg raises when PostgreSQL was killed between a query and its commit."""
    reason = Exception("cannot switch to state 15; another operation (2) is in progress")
    with pytest.raises(DatabaseUnavailable):
        async with database.transaction():
            raise InternalError("COMMIT", None, reason)
