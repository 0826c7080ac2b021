"""The tokens of open sockets: they expire, are refreshed, and end with their login."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.engine.example_server import ExampleServer
from tests.engine.test_metrics import scrape, scrape_until
from tests.support.auth import sign_in
from tests.support.auth.tokens import Tokens, bad_tokens, log_in_anew, refresh
from tests.support.client import Client, open_client
from tests.support.server import AppServer, StartServer

PATHS = ["/ws", "/ws/echo"]

UNAUTHENTICATED = "websocket_closed_total reason=unauthenticated"


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AppServer]:
    """One server for all of these tests, with the broker `memory://`."""
    async with ExampleServer(tmp_path_factory.mktemp("server"), {}).running() as server:
        yield server


@pytest_asyncio.fixture(scope="module")
async def http(server: AppServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url) as http:
        yield http


@pytest_asyncio.fixture(scope="module")
async def ada(server: AppServer) -> Tokens:
    """A login that no test ends."""
    return await tokens_of(server, "Ada")


@pytest_asyncio.fixture(scope="module")
async def grace(server: AppServer) -> Tokens:
    """A login of another user."""
    return await tokens_of(server, "Grace")


async def tokens_of(server: AppServer, name: str) -> Tokens:
    tokens = await sign_in(server.url, name)
    assert isinstance(tokens, Tokens)
    return tokens


async def closed(client: Client, patience: float) -> int | None:
    """The code with which the server closes a socket."""
    async with asyncio.timeout(patience):
        await client.socket.wait_closed()
    return client.socket.close_code


@pytest.mark.parametrize("path", PATHS)
async def test_a_socket_is_closed_with_4401_when_its_token_expires(
    server: AppServer, ada: Tokens, path: str
) -> None:
    before = (await scrape(server)).get(UNAUTHENTICATED, 0)
    short = ada.expiring_in(2)
    async with (
        open_client(server.ws_url, short, path) as client,
        open_client(server.ws_url, ada, path) as witness,
    ):
        await client.expect("welcome")
        assert await closed(client, patience=4) == 4401
        assert -0.5 < time.time() - short.claims["exp"] < 2
        await witness.send(type="ping")
        await witness.expect("pong" if path == "/ws" else "ping")
    await scrape_until(server, **{UNAUTHENTICATED: before + 1})


async def test_a_fresh_token_keeps_a_socket_open(server: AppServer, ada: Tokens) -> None:
    async with open_client(server.ws_url, ada.expiring_in(2)) as client:
        await client.send(type="refresh", token=ada.expiring_in(4).access_token)
        assert [frame["type"] for frame in await client.on_the_way()] == ["welcome"]
        await asyncio.sleep(2.5)
        await client.on_the_way()
        assert await closed(client, patience=4) == 4401


async def test_a_fresh_token_may_come_from_another_login_of_the_user(
    server: AppServer, ada: Tokens, http: httpx.AsyncClient
) -> None:
    first, second = await log_in_anew(server.url), await log_in_anew(server.url)
    async with open_client(server.ws_url, ada.with_access_token(first["access_token"])) as client:
        await client.send(type="refresh", token=second["access_token"])
        await client.on_the_way()
        await http.post("/auth/logout", data=first)
        await client.on_the_way()
        await http.post("/auth/logout", data=second)
        assert await closed(client, patience=2) == 4401


async def test_refreshing_with_a_bad_token_gets_an_error_and_changes_nothing(
    server: AppServer, ada: Tokens, grace: Tokens
) -> None:
    short = ada.expiring_in(4)
    async with open_client(server.ws_url, short) as client:
        await client.expect("welcome")
        bad = {**bad_tokens(ada, grace), "another user's": grace.access_token}
        for kind, token in bad.items():
            await client.send(type="refresh", token=token)
            error = await client.expect("error", code="invalid")
            assert error["detail"].startswith("token: "), kind
            assert token not in error["detail"]
        for not_a_string in (None, 7, ["x"]):
            await client.send(type="refresh", token=not_a_string)
            await client.expect("error", code="invalid")
        assert await closed(client, patience=6) == 4401
        assert -0.5 < time.time() - short.claims["exp"] < 2


async def test_refreshing_while_the_database_fails_gets_an_error_and_leaves_the_socket_open(
    start_server: StartServer, tmp_path: Path
) -> None:
    file = tmp_path / "app.db"
    server = await start_server(DATABASE_URL=f"sqlite+aiosqlite:///{file}")
    tokens = await tokens_of(server, "Ada")
    async with open_client(server.ws_url, tokens) as client:
        await client.expect("welcome")
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("ALTER TABLE logins RENAME TO elsewhere")
            await client.send(type="refresh", token=tokens.access_token)
            await client.expect("error", code="unavailable")
            connection.execute("ALTER TABLE elsewhere RENAME TO logins")
        await client.send(type="refresh", token=tokens.access_token)
        assert await client.on_the_way() == []
    assert "Traceback" not in server.read_log()


async def test_reusing_a_refresh_token_closes_the_sockets_of_its_login(
    server: AppServer, ada: Tokens, http: httpx.AsyncClient
) -> None:
    first = await log_in_anew(server.url)
    await refresh(http, first["refresh_token"])
    async with (
        open_client(server.ws_url, ada.with_access_token(first["access_token"])) as client,
        open_client(server.ws_url, ada) as witness,
    ):
        await client.expect("welcome")
        assert (await refresh(http, first["refresh_token"])).status_code == 401
        assert await closed(client, patience=2) == 4401
        await witness.on_the_way()
