"""The first message: which token opens a socket, and how all others are refused."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol

from app.auth.first_message import DEADLINE, MAX_BYTES
from app.realtime.protocol import SUBPROTOCOL
from tests.engine.example_server import ExampleServer
from tests.engine.test_metrics import scrape, scrape_until
from tests.support.auth.first_message import sign_in
from tests.support.auth.tokens import Tokens, bad_tokens
from tests.support.client import PATIENCE, open_client
from tests.support.server import AppServer, StartServer

PATHS = ["/ws", "/ws/echo"]

NO_SOCKETS = {"websocket_connections": 0, "websocket_unauthenticated": 0}

UNAUTHENTICATED = "websocket_closed_total reason=unauthenticated"


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AppServer]:
    """One server for all of these tests, with the broker `memory://`."""
    async with ExampleServer(tmp_path_factory.mktemp("server"), {}).running() as server:
        yield server
        await scrape_until(server, **NO_SOCKETS)


@pytest_asyncio.fixture(scope="module")
async def ada(server: AppServer) -> Tokens:
    return await sign_in(server.url, "Ada")


@pytest_asyncio.fixture(scope="module")
async def grace(server: AppServer) -> Tokens:
    return await sign_in(server.url, "Grace")


def auth(token: object) -> str:
    return json.dumps({"type": "auth", "token": token})


async def closed(socket: ClientConnection, patience: float = PATIENCE) -> int | None:
    """The code with which the server closes a socket on which it sent nothing."""
    received = []
    with suppress(ConnectionClosed):
        async with asyncio.timeout(patience):
            while True:
                received.append(await socket.recv())
    assert received == []
    return socket.close_code


async def answer_to(server: AppServer, path: str, *frames: str | bytes) -> int | None:
    """The code with which the server closes a socket whose first frames are these."""
    async with connect(server.ws_url + path) as socket:
        with suppress(ConnectionClosed):
            for frame in frames:
                await socket.send(frame)
        return await closed(socket)


# --- Authenticated connections --------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
async def test_a_token_in_the_first_message_opens_a_socket_for_its_user(
    server: AppServer, ada: Tokens, path: str
) -> None:
    async with connect(server.ws_url + path, subprotocols=[Subprotocol(SUBPROTOCOL)]) as socket:
        assert socket.subprotocol == SUBPROTOCOL
        await socket.send(auth(ada.access_token))
        welcome = json.loads(await socket.recv())
        assert welcome["user"] == {"id": ada.claims["sub"], "name": "Ada"}


async def test_a_client_may_send_messages_before_it_has_the_welcome(
    server: AppServer, ada: Tokens, room: str
) -> None:
    async with open_client(server.ws_url, ada) as client:
        await client.send(type="join", room=room)
        await client.publish(room, "hello")
        types = [(await client.receive())["type"] for _ in range(3)]

    assert types == ["welcome", "joined", "message"]


async def test_a_second_auth_message_gets_an_error_and_changes_nothing(
    server: AppServer, ada: Tokens
) -> None:
    async with open_client(server.ws_url, ada) as client:
        await client.socket.send(auth(ada.access_token))
        await client.expect("error", code="invalid")
        await client.on_the_way()


# --- Unauthenticated connections ------------------------------------------------


async def test_a_silent_connection_is_closed_with_4401_after_five_seconds(
    server: AppServer,
) -> None:
    before = (await scrape(server)).get(UNAUTHENTICATED, 0)
    async with connect(server.ws_url + "/ws") as rooms, connect(server.ws_url + "/ws/echo") as echo:
        began = time.monotonic()
        await rooms.ping()  # a control frame is not a message
        await scrape_until(server, websocket_unauthenticated=2, websocket_connections=0)
        codes = await asyncio.gather(*(closed(socket, DEADLINE + 2) for socket in (rooms, echo)))
        assert codes == [4401, 4401]
        assert DEADLINE - 0.5 < time.monotonic() - began < DEADLINE + 2
    await scrape_until(server, **NO_SOCKETS, **{UNAUTHENTICATED: before + 2})


@pytest.mark.parametrize("path", PATHS)
async def test_a_connection_whose_first_message_is_not_auth_is_closed_with_4401(
    server: AppServer, path: str, ada: Tokens
) -> None:
    genuine = auth(ada.access_token)
    frames: list[str | bytes] = [
        '{"type":"join","room":"lobby"}',
        '{"type":"ping"}',
        '{"type":"auth"}',
        '{"type":"auth","token":null}',
        auth(7),
        auth([ada.access_token]),
        f"[{genuine}]",
        json.dumps({"type": "refresh", "token": ada.access_token}),
        ada.access_token,
        "",
        "not JSON",
        "[" * MAX_BYTES,
        '{"type":"auth","token":"x","more":' + "[" * 3000,
        '{"type":"auth","token":' + "9" * 4000 + "}",
        '{"type":"auth","token":"\\ud800"}',
        '{"type":"\\udfff\\ud800","token":"x"}',
        b"\x00",
        genuine.encode(),
        b"\xff" * 5000,
    ]
    for frame in frames:
        assert await answer_to(server, path, frame) == 4401, frame[:50]
    await scrape_until(server, **NO_SOCKETS)


@pytest.mark.parametrize("path", PATHS)
async def test_a_connection_with_a_bad_token_is_closed_with_4401(
    server: AppServer, path: str, ada: Tokens, grace: Tokens
) -> None:
    for kind, token in bad_tokens(ada, grace).items():
        assert await answer_to(server, path, auth(token)) == 4401, kind
    await scrape_until(server, **NO_SOCKETS)


@pytest.mark.parametrize("path", PATHS)
async def test_a_connection_whose_first_message_is_too_big_is_closed_with_1009(
    server: AppServer, path: str, ada: Tokens
) -> None:
    genuine = auth(ada.access_token)
    for size in (MAX_BYTES + 1, 5000, 60_000, 100_000):
        assert await answer_to(server, path, genuine.ljust(size)) == 1009, size
    almost = "é" * (MAX_BYTES // 2)
    assert await answer_to(server, path, almost) == 4401
    assert await answer_to(server, path, almost + " ") == 1009
    async with connect(server.ws_url + path) as socket:
        await socket.send(genuine.ljust(MAX_BYTES))
        assert json.loads(await socket.recv())["type"] == "welcome"


async def test_an_unauthenticated_connection_cannot_join_a_room(
    server: AppServer, ada: Tokens, grace: Tokens, room: str
) -> None:
    join, genuine = json.dumps({"type": "join", "room": room}), auth(ada.access_token)
    async with open_client(server.ws_url, grace) as witness:
        await witness.join(room)
        for frames in ([join], [join, genuine], [join, genuine, join], [auth("x"), genuine, join]):
            assert await answer_to(server, "/ws", *frames) == 4401
        big = genuine.ljust(5000)
        assert await answer_to(server, "/ws", big, genuine, join) == 1009
        await asyncio.sleep(0.1)
        assert await witness.on_the_way() == []
        assert (await witness.join(room))["members"] == [witness.user]


@pytest.mark.parametrize("path", PATHS)
async def test_invalid_bytes_right_after_the_first_message_do_no_harm(
    server: AppServer, path: str, ada: Tokens
) -> None:
    """The server has closed the socket by itself when the application closes it."""
    for frame in ('{"type":"ping"}', auth("x"), auth(ada.access_token)):
        async with connect(server.ws_url + path) as socket:
            both = [Frame(Opcode.TEXT, data) for data in (frame.encode(), b"\xff")]
            socket.transport.write(b"".join(one.serialize(mask=True) for one in both))
            async with asyncio.timeout(PATIENCE):
                await socket.wait_closed()
            assert socket.close_code in {1007, 4401}
    await scrape_until(server, **NO_SOCKETS)


@pytest.mark.parametrize("path", PATHS)
async def test_a_client_that_disconnects_early_leaves_nothing_behind(
    server: AppServer, path: str, ada: Tokens
) -> None:
    for frame in (None, "{}", auth("x"), auth(ada.access_token)):
        for politely in (True, False):
            async with connect(server.ws_url + path) as socket:
                if frame is not None:
                    await socket.send(frame)
                if politely:
                    await socket.close()
                else:
                    socket.transport.abort()
    await scrape_until(server, **NO_SOCKETS)


# --- Checks before and after accept ---------------------------------------------


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_of_another_origin_is_refused_before_accept(
    server: AppServer, path: str
) -> None:
    for origin in ("https://evil.example", "null"):
        async with asyncio.timeout(DEADLINE - 1):
            with pytest.raises(InvalidStatus) as refused:
                await connect(server.ws_url + path, additional_headers={"Origin": origin})
        assert refused.value.response.status_code == 403


@pytest.mark.parametrize("path", PATHS)
async def test_a_connection_over_the_limit_of_its_user_is_closed_with_1013(
    start_server: StartServer, path: str
) -> None:
    server = await start_server(MAX_CONNECTIONS_PER_USER=1)
    ada, grace = await sign_in(server.url, "Ada"), await sign_in(server.url, "Grace")
    async with open_client(server.ws_url, ada, path) as first:
        await first.expect("welcome")
        assert await answer_to(server, path, auth(ada.access_token)) == 1013
        async with open_client(server.ws_url, grace, path) as other:
            await other.expect("welcome")
        await scrape_until(
            server,
            websocket_connections=1,
            websocket_unauthenticated=0,
            **{"websocket_refused_handshakes_total reason=user": 1},
        )
    async with open_client(server.ws_url, ada, path) as again:
        await again.expect("welcome")


async def test_a_connection_with_invalid_parameters_is_closed_with_1008(
    server: AppServer, ada: Tokens
) -> None:
    assert await answer_to(server, "/ws/echo/x?every=0", auth(ada.access_token)) == 1008
    assert await answer_to(server, "/ws/echo/x?every=0", auth("x")) == 4401


async def test_the_log_does_not_contain_first_messages(server: AppServer, ada: Tokens) -> None:
    async with open_client(server.ws_url, ada) as client:
        await client.on_the_way()
    await answer_to(server, "/ws", json.dumps({"type": "autht", "token": ada.access_token}))

    log = server.read_log()
    assert "/ws" in log
    assert ada.access_token not in log
