"""Every deploy sends SIGTERM: the server tells its clients, and ends in time."""

import asyncio
import signal
from contextlib import AsyncExitStack

import pytest

from tests.engine.test_slow_client import fill_outbox, open_stalling_client
from tests.support.auth import sign_in
from tests.support.client import PATIENCE, Client, open_client, until
from tests.support.server import AppServer, StartServer

RULED = ("tests.engine.ruled_app",)
SOCKETS = 300
ENDED = {0, -signal.SIGTERM}
"""Exit codes of an orderly end: uvicorn raises the signal again when it is done."""


async def close_code(client: Client) -> int | None:
    """The code with which the server closed the socket."""
    async with asyncio.timeout(PATIENCE):
        await client.socket.wait_closed()
    return client.socket.close_code


def complaints(server: AppServer) -> list[str]:
    """The lines of the log that report a failure."""
    signs = ("Traceback", " ERROR ", " CRITICAL ", "destroyed", "never awaited", "never retrieved")
    lines = server.read_log().splitlines()
    return [line for line in lines if any(sign in line for sign in signs)]


async def test_idle_sockets_are_closed_with_1012(
    start_server: StartServer, broker_url: str, room: str
) -> None:
    server = await start_server(
        BROKER_URL=broker_url,
        WEB_CONCURRENCY=1 if broker_url == "memory://" else 2,
        MAX_CONNECTIONS_PER_USER=0,
    )
    credentials = await sign_in(server.url, "alice")
    async with AsyncExitStack() as stack:
        clients = []
        for number in range(SOCKETS):
            client = await stack.enter_async_context(open_client(server.ws_url, credentials))
            await client.join(f"{number % 7}.{room}"[:64])
            clients.append(client)
        assert await server.stop(patience=10) in ENDED
        assert {await close_code(client) for client in clients} == {1012}
    assert not complaints(server)


async def test_a_client_that_stopped_reading_does_not_delay_the_shutdown(
    start_server: StartServer, room: str
) -> None:
    server = await start_server(PING_TIMEOUT=1, OUTBOX_MESSAGES=0, OUTBOX_BYTES=0)
    credentials = await sign_in(server.url, "alice")
    async with (
        open_client(server.ws_url, credentials) as alice,
        open_stalling_client(server, credentials) as stalled,
    ):
        for client in (alice, stalled):
            await client.join(room)
        await fill_outbox(alice, room)
        assert await server.stop(patience=5) in ENDED
        assert await close_code(alice) == 1012
    assert not complaints(server)


async def test_a_rule_that_never_answers_does_not_delay_the_shutdown(
    start_server: StartServer,
) -> None:
    server = await start_server(*RULED, SHUTDOWN_GRACE=1)
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        await alice.send(type="join", room="endless")
        await until(lambda: 'asked action="join" room="endless"' in server.read_log())
        assert await server.stop(patience=5) in ENDED
        assert await close_code(alice) == 1012
    assert 'ruled_app.py", line' in server.read_log()  # the line at which it was cancelled


@pytest.mark.parametrize("seconds", [0, 0.05, 0.2])
async def test_the_shutdown_of_a_busy_server_logs_no_failure(
    start_server: StartServer, broker_url: str, room: str, seconds: float
) -> None:
    server = await start_server(BROKER_URL=broker_url)
    credentials = await sign_in(server.url, "alice")
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(20):
            client = await stack.enter_async_context(open_client(server.ws_url, credentials))
            clients.append(client)
            await client.send(type="join", room=room)
            for _ in range(20):
                await client.publish(room, "hello")
        await asyncio.sleep(seconds)
        assert await server.stop(patience=10) in ENDED
        assert {await close_code(client) for client in clients} == {1012}
    assert not complaints(server)
