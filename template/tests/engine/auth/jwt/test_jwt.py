"""The access token in the handshake: where it can be, and which tokens open a socket."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from app.realtime.protocol import SUBPROTOCOL
from tests.engine.example_server import ExampleServer
from tests.support.auth.jwt import sign_in
from tests.support.auth.tokens import Tokens, bad_tokens
from tests.support.client import open_client
from tests.support.server import AppServer

PATHS = ["/ws", "/ws/echo"]


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AppServer]:
    """One server for all of these tests, with the broker `memory://`."""
    async with ExampleServer(tmp_path_factory.mktemp("server"), {}).running() as server:
        yield server


@pytest_asyncio.fixture(scope="module")
async def ada(server: AppServer) -> Tokens:
    return await sign_in(server.url, "Ada")


@pytest_asyncio.fixture(scope="module")
async def grace(server: AppServer) -> Tokens:
    return await sign_in(server.url, "Grace")


def user_of(tokens: Tokens) -> dict[str, str]:
    """Ada, as the welcome names her."""
    return {"id": tokens.claims["sub"], "name": "Ada"}


def offer(token: str) -> list[Subprotocol]:
    """The subprotocols that browsers offer: a script can't set headers on a handshake."""
    return [Subprotocol(SUBPROTOCOL), Subprotocol(f"bearer.{token}")]


async def refusal(server: AppServer, path: str = "/ws", **options: object) -> tuple[int, str]:
    """How a handshake is refused: the status, and the challenge."""
    with pytest.raises(InvalidStatus) as refused:
        await connect(server.ws_url + path, **options)  # type: ignore[arg-type]
    response = refused.value.response
    return response.status_code, response.headers.get("WWW-Authenticate", "")


@pytest.mark.parametrize("path", PATHS)
async def test_a_token_in_the_header_opens_a_socket_for_its_user(
    server: AppServer, ada: Tokens, path: str
) -> None:
    async with open_client(server.ws_url, ada, path) as client:
        await client.expect("welcome")
        assert client.user == user_of(ada)


@pytest.mark.parametrize("path", PATHS)
async def test_a_token_among_the_subprotocols_opens_a_socket_and_is_not_echoed(
    server: AppServer, ada: Tokens, path: str
) -> None:
    async with connect(server.ws_url + path, subprotocols=offer(ada.access_token)) as socket:
        assert json.loads(await socket.recv())["user"] == user_of(ada)
        assert socket.subprotocol == SUBPROTOCOL
        assert socket.response is not None
        assert "bearer" not in str(socket.response.headers)


async def test_a_token_that_is_the_only_subprotocol_is_not_echoed(
    server: AppServer, ada: Tokens
) -> None:
    async with connect(server.ws_url + "/ws", subprotocols=offer(ada.access_token)[1:]) as socket:
        assert json.loads(await socket.recv())["user"] == user_of(ada)
        assert socket.subprotocol is None


@pytest.mark.parametrize("path", PATHS)
async def test_a_handshake_without_a_token_is_refused(server: AppServer, path: str) -> None:
    assert await refusal(server, path) == (401, "Bearer")


async def test_a_handshake_with_a_bad_token_in_the_header_is_refused(
    server: AppServer, ada: Tokens, grace: Tokens
) -> None:
    for kind, token in bad_tokens(ada, grace).items():
        headers = {"Authorization": f"Bearer {token}"}
        for path in PATHS:
            refused = await refusal(server, path, additional_headers=headers)
            assert refused == (401, "Bearer"), kind


async def test_a_handshake_with_a_bad_token_among_the_subprotocols_is_refused(
    server: AppServer, ada: Tokens, grace: Tokens
) -> None:
    for kind, token in bad_tokens(ada, grace).items():
        refused = await refusal(server, subprotocols=offer(token))
        assert refused == (401, "Bearer"), kind


async def test_a_page_of_another_origin_cannot_open_a_socket(
    server: AppServer, ada: Tokens
) -> None:
    headers = {**ada.headers, "Origin": "https://evil.example"}

    assert (await refusal(server, additional_headers=headers))[0] == 403


async def test_the_log_does_not_contain_tokens(server: AppServer, ada: Tokens) -> None:
    async with open_client(server.ws_url, ada) as client:
        await client.send(type="refresh", token=ada.access_token)
        await client.on_the_way()
    async with connect(server.ws_url + "/ws", subprotocols=offer(ada.access_token)):
        pass

    log = server.read_log()
    assert "/ws" in log
    assert ada.access_token not in log
    assert ada.refresh_token not in log
