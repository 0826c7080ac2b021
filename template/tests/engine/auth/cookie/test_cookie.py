"""Which handshakes with a session cookie open a socket."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.engine.example_server import ExampleServer
from tests.support.auth.accounts import handshake, log_in
from tests.support.auth.cookie import sign_in
from tests.support.client import open_client
from tests.support.server import AppServer

PATHS = ["/ws", "/ws/echo"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the server of these tests, with its database."""
    return tmp_path_factory.mktemp("cookie")


@pytest_asyncio.fixture(scope="module")
async def server(folder: Path) -> AsyncIterator[AppServer]:
    """One server for all of these tests, with the broker `memory://`."""
    async with ExampleServer(folder, {}).running() as server:
        yield server


@pytest_asyncio.fixture(scope="module")
async def headers(server: AppServer) -> dict[str, str]:
    """What the browser of a logged-in user sends. No test ends this session."""
    return (await sign_in(server.url, "Ada")).headers


@pytest.mark.parametrize("path", PATHS)
async def test_a_session_cookie_opens_a_socket_for_its_user(server: AppServer, path: str) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "Ada"), path) as client:
        await client.expect("welcome")
        assert client.user["name"] == "Ada"


@pytest.mark.parametrize("path", PATHS)
async def test_a_handshake_without_a_cookie_is_refused(server: AppServer, path: str) -> None:
    assert await handshake(server.ws_url + path, {"Origin": server.url}) == 401


@pytest.mark.parametrize("value", ["", "x", "x.y", "a" * 4000, "\xff.\xff"], ids=ascii)
async def test_a_handshake_with_a_made_up_cookie_is_refused(server: AppServer, value: str) -> None:
    headers = {"Origin": server.url, "Cookie": f"session={value}"}

    assert await handshake(server.ws_url + "/ws", headers) == 401


async def test_a_handshake_with_the_cookie_of_an_ended_session_is_refused(
    server: AppServer,
) -> None:
    session = (await log_in(server.url, "Ada")).cookies["session"]
    headers = {"Origin": server.url, "Cookie": f"session={session}"}
    assert await handshake(server.ws_url + "/ws", headers) == 101

    async with httpx.AsyncClient(base_url=server.url, headers=headers) as http:
        assert (await http.post("/auth/logout")).status_code == 204

    assert await handshake(server.ws_url + "/ws", headers) == 401


@pytest.mark.parametrize("path", PATHS)
async def test_a_handshake_with_a_cookie_needs_an_origin(
    server: AppServer, headers: dict[str, str], path: str
) -> None:
    assert await handshake(server.ws_url + path, {"Cookie": headers["Cookie"]}) == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_a_page_of_another_origin_cannot_open_a_socket_with_its_visitors_cookie(
    server: AppServer, headers: dict[str, str], origin: str
) -> None:
    assert await handshake(server.ws_url + "/ws", {**headers, "Origin": origin}) == 403


async def test_the_log_does_not_contain_the_cookie(
    server: AppServer, headers: dict[str, str]
) -> None:
    assert await handshake(server.ws_url + "/ws", headers) == 101

    log = server.read_log()
    assert "/ws" in log
    assert not [part for part in headers["Cookie"].split("=")[1].split(".") if part in log]
