"""The server closes the sockets of a login when the login ends, and no others."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
import uvicorn
from fastapi import FastAPI, WebSocket
from websockets.exceptions import WebSocketException

from app.auth import CurrentUser
from app.auth.accounts.live import LiveLogins
from app.realtime import open_socket
from app.realtime.server.frames import PrebuiltFramesProtocol
from tests.engine.example.main import create_app
from tests.engine.example.settings import Settings
from tests.engine.example_server import PLAIN_UVICORN, ExampleServer
from tests.engine.test_metrics import scrape, scrape_until
from tests.support.auth import SETTINGS, sign_in
from tests.support.client import PATIENCE, Client, Credentials, open_client, until
from tests.support.server import AppServer, StartServer

PATHS = ["/ws", "/ws/echo"]

UNAUTHENTICATED = "websocket_closed_total reason=unauthenticated"


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AppServer]:
    """One server for all of these tests, with the broker `memory://`."""
    async with ExampleServer(tmp_path_factory.mktemp("server"), {}).running() as server:
        yield server


async def log_out(base_url: str, credentials: Credentials) -> None:
    """Log out of the login that issued these credentials."""
    everything = {name: value for name, value in asdict(credentials).items() if value}
    form = {name: value for name, value in everything.items() if isinstance(value, str)}
    async with httpx.AsyncClient(base_url=base_url, headers=credentials.headers) as http:
        assert (await http.post("/auth/logout", data=form)).status_code == 204


async def closed(client: Client, patience: float = 2) -> int | None:
    """The code with which the server closes a socket."""
    async with asyncio.timeout(patience):
        await client.socket.wait_closed()
    return client.socket.close_code


async def serves(client: Client) -> None:
    """Check that a socket of either endpoint is open and served."""
    await client.socket.send('{"type":"ping"}')
    while (await client.receive())["type"] not in {"ping", "pong"}:
        pass


# --- On real sockets ------------------------------------------------------------


async def test_logging_out_closes_the_sockets_of_that_login_and_no_other(
    server: AppServer,
) -> None:
    before = (await scrape(server)).get(UNAUTHENTICATED, 0)
    this = await sign_in(server.url, "ada")
    of_the_same_user = await sign_in(server.url, "Ada")  # the same account, another login
    of_another = await sign_in(server.url, "grace")
    async with (
        open_client(server.ws_url, this) as rooms,
        open_client(server.ws_url, this) as second_tab,
        open_client(server.ws_url, this, "/ws/echo") as echo,
        open_client(server.ws_url, of_the_same_user) as other_login,
        open_client(server.ws_url, of_the_same_user, "/ws/echo") as other_echo,
        open_client(server.ws_url, of_another) as other_user,
    ):
        for client in (rooms, second_tab, echo, other_login, other_echo, other_user):
            await client.expect("welcome")
        await other_user.join("here")
        await rooms.join("here")
        await other_user.expect("presence", user=rooms.user, event="join")
        await log_out(server.url, this)
        codes = await asyncio.gather(*(closed(one) for one in (rooms, second_tab, echo)))
        assert codes == [4401, 4401, 4401]
        await other_user.expect("presence", user=rooms.user, event="leave")
        for client in (other_login, other_echo, other_user):
            await serves(client)
        await log_out(server.url, of_the_same_user)
        assert [await closed(other_login), await closed(other_echo)] == [4401, 4401]
        await serves(other_user)
    await scrape_until(server, websocket_connections=0, **{UNAUTHENTICATED: before + 5})


async def test_logging_out_closes_an_idle_socket(server: AppServer) -> None:
    credentials = await sign_in(server.url, "listener")
    async with open_client(server.ws_url, credentials) as client:
        await client.join("quiet")
        await asyncio.sleep(0.2)
        await log_out(server.url, credentials)
        assert await closed(client) == 4401


async def test_logging_out_while_clients_connect_and_disconnect_leaves_no_socket_open(
    server: AppServer,
) -> None:
    credentials = await sign_in(server.url, "hasty")
    codes = []

    async def connect(number: int) -> None:
        # After the logout, a handshake is refused, and so is what comes before it.
        with suppress(WebSocketException, AssertionError):
            async with open_client(server.ws_url, credentials, PATHS[number % 2]) as client:
                if number % 3 == 0:
                    client.socket.transport.abort()
                # Sixty handshakes at once take time.
                codes.append(await closed(client, 4 * PATIENCE))

    async with asyncio.TaskGroup() as tasks:
        for number in range(60):
            tasks.create_task(connect(number))
            await asyncio.sleep(0)
        tasks.create_task(log_out(server.url, credentials))
    assert set(codes) <= {4401, 1006}
    await scrape_until(server, websocket_connections=0)


async def test_logging_out_closes_the_sockets_of_plain_uvicorn(start_server: StartServer) -> None:
    server = await start_server(*PLAIN_UVICORN)
    credentials = await sign_in(server.url, "ada")
    async with (
        open_client(server.ws_url, credentials) as rooms,
        open_client(server.ws_url, credentials, "/ws/echo") as echo,
    ):
        for client in (rooms, echo):
            await client.expect("welcome")
        await log_out(server.url, credentials)
        assert await closed(rooms) == await closed(echo) == 4401
    assert "Traceback" not in server.read_log()


# --- What a worker watches ------------------------------------------------------


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[FastAPI, AppServer]]:
    """A server in this process, whose state the test can read."""
    settings = Settings(
        _env_file=None,
        database_url=f"sqlite+aiosqlite:///{folder / 'app.db'}",
        secret_keys=SETTINGS["SECRET_KEYS"],
        messages_per_second=0,
    )
    app = create_app(settings)
    address = ExampleServer(folder, {})
    config = uvicorn.Config(
        app, port=address.port, ws=PrebuiltFramesProtocol, log_config=None, timeout_keep_alive=0
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started, patience=20)
        yield app, address
    finally:
        server.should_exit = True
        await serving


async def test_a_closed_socket_is_not_watched_any_more(tmp_path: Path) -> None:
    async with serving(tmp_path) as (app, server):
        live: LiveLogins = app.state.live_logins
        credentials = await sign_in(server.url, "ada")
        for path in PATHS:
            async with open_client(server.ws_url, credentials, path) as client:
                await client.expect("welcome")
                await until(lambda: watches(live) == 1)
            await until(lambda: watches(live) == 0)

            async with open_client(server.ws_url, credentials, path) as client:
                await client.expect("welcome")
                client.socket.transport.abort()
            await until(lambda: watches(live) == 0)

        async with open_client(server.ws_url, credentials) as client:
            await client.socket.send(b"binary")
            assert await closed(client) == 1003
        await until(lambda: watches(live) == 0)

        async with (
            open_client(server.ws_url, credentials) as rooms,
            open_client(server.ws_url, credentials, "/ws/echo") as echo,
        ):
            for client in (rooms, echo):
                await client.expect("welcome")
            await until(lambda: watches(live) == 2)
            expire(live, after=0.1)
            assert [await closed(rooms), await closed(echo)] == [4401, 4401]
        assert watches(live) == 0

        async with (
            open_client(server.ws_url, credentials) as rooms,
            open_client(server.ws_url, credentials, "/ws/echo") as echo,
        ):
            for client in (rooms, echo):
                await client.expect("welcome")
            await until(lambda: watches(live) == 2)
            await log_out(server.url, credentials)
            assert [await closed(rooms), await closed(echo)] == [4401, 4401]
        assert watches(live) == 0


@pytest.mark.parametrize("path", PATHS)
async def test_a_login_that_ends_during_the_handshake_closes_the_socket(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as (app, server):
        live: LiveLogins = app.state.live_logins
        credentials = await sign_in(server.url, "ada")
        async with open_client(server.ws_url, credentials) as client:
            await client.expect("welcome")
            (login,) = live._watches
        await until(lambda: watches(live) == 0)

        # As if the login had ended after the handshake read it from the database.
        monkeypatch.setitem(live._ended, login, time.monotonic())

        async with open_client(server.ws_url, credentials, path) as client:
            assert await closed(client) == 4401
        assert watches(live) == 0


async def test_an_own_socket_whose_task_is_cancelled_is_not_watched_any_more(
    tmp_path: Path,
) -> None:
    tasks: list[asyncio.Task[None]] = []

    async def hold_open(websocket: WebSocket, user: CurrentUser) -> None:
        async def hold() -> None:
            async with open_socket(websocket, user) as socket:
                await socket.receive()

        tasks.append(asyncio.create_task(hold()))
        await asyncio.wait(tasks)

    async with serving(tmp_path) as (app, server):
        live: LiveLogins = app.state.live_logins
        app.add_api_websocket_route("/ws/hold", hold_open)
        credentials = await sign_in(server.url, "ada")
        async with open_client(server.ws_url, credentials, "/ws/hold") as client:
            await client.expect("welcome")
            assert watches(live) == 1
            (task,) = tasks
            task.cancel()
            await asyncio.wait(tasks)
            assert task.cancelled()
            assert watches(live) == 0


def watches(live: LiveLogins) -> int:
    """How many sockets are watched."""
    return sum(len(watches) for watches in live._watches.values())


def expire(live: LiveLogins, after: float) -> None:
    """Have the credential of every socket expire in so many seconds."""
    for watch in [watch for watches in live._watches.values() for watch in watches]:
        watch.renew(replace(watch.user, expires_at=time.time() + after))
