"""Sockets whose first message has not come: they are bounded, and hold nobody up."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from websockets.asyncio.client import ClientConnection, connect

from app.auth import first_message
from app.auth.first_message import DEADLINE, MAX_STRANGERS_PER_ADDRESS, Strangers
from tests.support.auth.first_message import sign_in
from tests.support.client import PATIENCE, open_client
from tests.support.server import StartServer
from tests.engine.test_metrics import scrape, scrape_until


async def test_a_thousand_silent_sockets_do_not_stop_a_genuine_one(
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
            assert (await scrape(server))["websocket_strangers"] <= MAX_STRANGERS_PER_ADDRESS
            async with asyncio.timeout(DEADLINE + 2):
                await asyncio.gather(*(socket.wait_closed() for socket in sockets))
            await client.on_the_way()
        codes = [socket.close_code for socket in sockets]
        assert set(codes) <= {1013, 4401}
        assert codes.count(1013) >= 500
    await scrape_until(server, websocket_connections=0, websocket_strangers=0)
    assert "Traceback" not in server.read_log()


async def test_termination_closes_strangers_with_1012(start_server: StartServer) -> None:
    server = await start_server()
    async with connect(server.ws_url + "/ws") as rooms, connect(server.ws_url + "/ws/echo") as echo:
        await scrape_until(server, websocket_strangers=2)
        await server.stop(patience=DEADLINE - 1)
        for socket in (rooms, echo):
            await socket.wait_closed()
            assert socket.close_code == 1012
    assert "Traceback" not in server.read_log()


async def wait_in(strangers: Strangers, address: str | None, places: list[asyncio.Timeout]) -> bool:
    """Be a stranger until one's place is taken."""
    try:
        async with asyncio.timeout(60) as place:
            with strangers.admit(address, place):
                places.append(place)
                await asyncio.sleep(60)
    except TimeoutError:
        return True
    return False


async def test_the_longest_waiting_of_the_address_with_most_has_to_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(first_message, "MAX_STRANGERS", 6)
    monkeypatch.setattr(first_message, "MAX_STRANGERS_PER_ADDRESS", 4)
    strangers, places = Strangers(), list[asyncio.Timeout]()
    waiting = {}
    for name in ("1", "2", "2", "2", "3", None, "2", "3", "2", "2"):
        address = name and f"192.0.2.{name}"
        task = asyncio.create_task(wait_in(strangers, address, places))
        waiting[task] = address
        await asyncio.sleep(0.01)
    left = [address for task, address in waiting.items() if task.done()]
    assert left == ["192.0.2.2"] * 4
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert (dict(strangers._waiting), strangers._count) == ({}, 0)


async def test_a_place_may_be_wanted_at_the_moment_at_which_its_time_is_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(first_message, "MAX_STRANGERS_PER_ADDRESS", 1)
    strangers, places = Strangers(), list[asyncio.Timeout]()
    task = asyncio.create_task(wait_in(strangers, "192.0.2.1", places))
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    arrived = loop.create_future()

    def arrive() -> None:
        with strangers.admit("192.0.2.1", asyncio.timeout(None)):
            arrived.set_result(places[0].expired())

    places[0].reschedule(loop.time())
    loop.call_soon(arrive)
    async with asyncio.timeout(PATIENCE):
        assert await arrived
    assert await task
    assert (dict(strangers._waiting), strangers._count) == ({}, 0)
