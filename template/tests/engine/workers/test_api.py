"""The server API with two workers: whichever is asked, it acts on both, also after an outage."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from tests.support.auth import sign_in
from tests.support.broker_server import BrokerServer
from tests.support.client import PATIENCE, Client, open_client
from tests.support.pair import pair_in, start_pair, wait_until_ready
from tests.support.server import AppServer, StartServer

KEY = secrets.token_urlsafe(32)


async def start_workers(start_server: StartServer, url: str) -> list[AppServer]:
    return await start_pair(start_server, url, API_KEYS=KEY)


async def post(server: AppServer, path: str, **body: object) -> int:
    """Ask a worker. Returns the HTTP status."""
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as http:
        return (await http.post(f"/api/{path}", json=body)).status_code


def hello(text: str) -> dict[str, object]:
    return {"event": "chat.message", "data": {"text": text}}


@asynccontextmanager
async def others_in(room: str, servers: list[AppServer]) -> AsyncIterator[list[Client]]:
    """A client of another user on each worker, who is in this room."""
    async with AsyncExitStack() as stack:
        others = []
        for server in servers:
            credentials = await sign_in(server.url, "carol")
            other = await stack.enter_async_context(open_client(server.ws_url, credentials))
            await other.join(room)
            others.append(other)
        yield others


async def close_code(client: Client, patience: float = 1) -> int | None:
    """The code with which a socket is closed within so many seconds."""
    async with asyncio.timeout(patience):
        await client.socket.wait_closed()
    return client.socket.close_code


@pytest.mark.parametrize("asked", [0, 1])
async def test_publishing_reaches_the_right_sockets_on_both_workers(
    start_server: StartServer, broker_server: BrokerServer, room: str, asked: int
) -> None:
    servers = await start_workers(start_server, broker_server.url)
    async with pair_in(room, servers) as clients, others_in(f"{room}.2"[-64:], servers) as others:
        for client in (*clients, *others):
            await client.join("@me")
        assert await post(servers[asked], "publish", room=room, **hello("to the room")) == 202
        for client in clients:
            await client.expect("message", room=room, data={"text": "to the room"})
        to_each = {client: f"{room} {client.user['id']}" for client in clients}
        for client, text in to_each.items():
            body = {"user": client.user["id"], **hello(text)}
            assert await post(servers[asked], "publish", **body) == 202
            await client.expect("message", room="@me", data={"text": text})
        for client in (*clients, *others):
            await client.on_the_way()
        mine = {"to the room", *to_each.values()}  # not what other tests sent to these users
        for client in (*clients, *others):
            texts = [it["data"]["text"] for it in client.seen if it["type"] == "message"]
            expected = ["to the room", to_each[client]] if client in to_each else []
            assert [text for text in texts if text in mine] == expected


@pytest.mark.parametrize("asked", [0, 1])
async def test_evicting_and_disconnecting_act_on_both_workers_within_a_second(
    start_server: StartServer, broker_server: BrokerServer, room: str, asked: int
) -> None:
    servers = await start_workers(start_server, broker_server.url)
    async with pair_in(room, servers) as clients, others_in(room, servers) as others:
        for client in clients:
            body = {"user": client.user["id"], "room": room}
            assert await post(servers[asked], "evict", **body) == 202
            async with asyncio.timeout(1):
                await client.expect("left", room=room, reason="evicted")
        for client in clients:
            assert await post(servers[asked], "disconnect", user=client.user["id"]) == 202
            assert await close_code(client) == 4403
        for other in others:
            await other.on_the_way()  # it is still connected
            assert "left" not in {frame["type"] for frame in other.seen}


async def test_an_outage_is_answered_with_503_and_nothing_accepted_is_lost(
    start_server: StartServer, broker_server: BrokerServer, room: str
) -> None:
    servers = await start_workers(start_server, broker_server.url)
    async with pair_in(room, servers) as clients:
        alice, bob = clients
        accepted, statuses = [], set()
        for number in range(90):
            if number == 30:
                broker_server.kill()
            if number == 60:
                await broker_server.start()
                await wait_until_ready(servers)
            body = {"room": room, "id": str(number), **hello(str(number))}
            status = await post(servers[number % 2], "publish", **body)
            statuses.add(status)
            if status == 202:
                accepted.append(str(number))
        assert statuses == {202, 503}
        assert len(accepted) >= 60
        for client in clients:
            received: list[str] = []
            while "89" not in received:
                received.append((await client.expect("message"))["id"])
            assert [it for it in received if it in accepted] == accepted
            assert len(received) == len(set(received))
            assert "resync" not in {frame["type"] for frame in client.seen}
        body = {"user": bob.user["id"], "room": room}
        broker_server.kill()
        assert await post(servers[0], "evict", **body) == 503
        assert await post(servers[0], "disconnect", user=alice.user["id"]) == 503
        await broker_server.start()
        await wait_until_ready(servers)
        assert await post(servers[0], "evict", **body) == 202
        await bob.expect("left", room=room, reason="evicted")
        assert await post(servers[1], "disconnect", user=alice.user["id"]) == 202
        assert await close_code(alice, PATIENCE) == 4403
