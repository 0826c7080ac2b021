"""Connections whose first message has not arrived: they are limited, and block nobody."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from websockets.asyncio.client import ClientConnection, connect

from app.auth import first_message
from app.auth.first_message import (
    DEADLINE,
    MAX_UNAUTHENTICATED_PER_ADDRESS,
    UnauthenticatedSockets,
)
from tests.engine.test_metrics import scrape, scrape_until
from tests.support.auth.first_message import sign_in
from tests.support.client import PATIENCE, open_client
from tests.support.server import StartServer


async def test_a_thousand_unauthenticated_connections_do_not_keep_a_user_out(
    start_server: StartServer,
) -> None:
    server = await start_server()
    ada = await sign_in(server.url, "Ada")
    async with AsyncExitStack() as stack:
        sockets: list[ClientConnection] = []

        async def flood(count: int) -> None:
            for _ in range(count):
                opening = connect(server.ws_url + "/ws", ping_interval=None)
                sockets.append(await stack.enter_async_context(opening))

        flooding = [asyncio.create_task(flood(250)) for _ in range(4)]
        while not all(task.done() for task in flooding):
            async with open_client(server.ws_url, ada) as client:
                await client.expect("welcome")
        await asyncio.gather(*flooding)
        async with open_client(server.ws_url, ada) as client:
            await client.expect("welcome")
            unauthenticated = (await scrape(server))["websocket_unauthenticated"]
            assert unauthenticated <= MAX_UNAUTHENTICATED_PER_ADDRESS
            async with asyncio.timeout(DEADLINE + 2):
                await asyncio.gather(*(socket.wait_closed() for socket in sockets))
            await client.on_the_way()
        codes = [socket.close_code for socket in sockets]
        assert set(codes) <= {1013, 4401}
        assert codes.count(1013) >= 500
    await scrape_until(server, websocket_connections=0, websocket_unauthenticated=0)
    assert "Traceback" not in server.read_log()


async def test_a_shutdown_closes_unauthenticated_connections_with_1012(
    start_server: StartServer,
) -> None:
    server = await start_server()
    async with connect(server.ws_url + "/ws") as rooms, connect(server.ws_url + "/ws/echo") as echo:
        await scrape_until(server, websocket_unauthenticated=2)
        await server.stop(patience=DEADLINE - 1)
        for socket in (rooms, echo):
            await socket.wait_closed()
            assert socket.close_code == 1012
    assert "Traceback" not in server.read_log()


async def was_evicted(
    sockets: UnauthenticatedSockets, address: str | None, places: list[asyncio.Timeout]
) -> bool:
    """Wait as an unauthenticated connection. Returns whether another one took its place."""
    try:
        async with asyncio.timeout(60) as place:
            with sockets.admit(address, place):
                places.append(place)
                await asyncio.sleep(60)
    except TimeoutError:
        return True
    return False


async def test_the_oldest_connection_of_the_address_with_the_most_is_evicted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(first_message, "MAX_UNAUTHENTICATED", 6)
    monkeypatch.setattr(first_message, "MAX_UNAUTHENTICATED_PER_ADDRESS", 4)
    sockets, places = UnauthenticatedSockets(), list[asyncio.Timeout]()
    waiting = {}
    for name in ("1", "2", "2", "2", "3", None, "2", "3", "2", "2"):
        address = name and f"192.0.2.{name}"
        task = asyncio.create_task(was_evicted(sockets, address, places))
        waiting[task] = address
        await asyncio.sleep(0.01)
    left = [address for task, address in waiting.items() if task.done()]
    assert left == ["192.0.2.2"] * 4
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert (dict(sockets._waiting), sockets._count) == ({}, 0)


async def test_a_connection_may_be_evicted_at_the_moment_it_times_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(first_message, "MAX_UNAUTHENTICATED_PER_ADDRESS", 1)
    sockets, places = UnauthenticatedSockets(), list[asyncio.Timeout]()
    task = asyncio.create_task(was_evicted(sockets, "192.0.2.1", places))
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    arrived = loop.create_future()

    def arrive() -> None:
        with sockets.admit("192.0.2.1", asyncio.timeout(None)):
            arrived.set_result(places[0].expired())

    places[0].reschedule(loop.time())
    loop.call_soon(arrive)
    async with asyncio.timeout(PATIENCE):
        assert await arrived
    assert await task
    assert (dict(sockets._waiting), sockets._count) == ({}, 0)
