"""The server API under `/api`, on every broker."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from app.realtime.settings import RealtimeSettings
from tests.engine.example_server import ExampleServer
from tests.engine.test_attacks import CROWD, crowd_in
from tests.support.auth import sign_in
from tests.support.client import PATIENCE, open_client
from tests.support.server import AppServer, StartServer

KEY = secrets.token_urlsafe(32)
OTHER_KEY = secrets.token_urlsafe(32)

REQUESTS: dict[str, dict[str, object]] = {
    "/api/publish": {"room": "lobby", "event": "chat.message", "data": {"text": "hello"}},
    "/api/disconnect": {"user": "nobody"},
    "/api/evict": {"user": "nobody", "room": "lobby"},
}


@pytest_asyncio.fixture(scope="module")
async def server(broker_url: str, folder: Path) -> AsyncIterator[AppServer]:
    """A server with the API, in place of the one that all tests share."""
    settings = {"BROKER_URL": broker_url, "API_KEYS": f"{OTHER_KEY}, {KEY}"}
    async with ExampleServer(folder, settings).running() as server:
        await server.wait_for_status("/readyz", 200)
        yield server


def api(server: AppServer, key: str = KEY) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, headers={"Authorization": f"Bearer {key}"})


async def test_publishing_to_a_room_reaches_its_members_and_nobody_else(
    server: AppServer, room: str
) -> None:
    credentials = [await sign_in(server.url, name) for name in ("alice", "bob")]
    async with (
        open_client(server.ws_url, credentials[0]) as alice,
        open_client(server.ws_url, credentials[1]) as bob,
        api(server) as http,
    ):
        await alice.join(room)
        await bob.join(f"{room}.2"[-64:])
        body = {"room": room, "event": "chat.message", "data": {"text": "hello"}, "id": "first"}
        answer = await http.post("/api/publish", json=body)
        assert answer.status_code == 202
        message = await alice.expect("message", room=room, id="first")
        assert message["event"] == "chat.message"
        assert message["data"] == {"text": "hello"}
        assert "sender" not in message
        assert answer.json()["offset"] == message["offset"]
        assert await bob.on_the_way() == []


async def test_publishing_to_a_user_reaches_the_user_on_all_devices_and_nobody_else(
    server: AppServer,
) -> None:
    credentials = [await sign_in(server.url, name) for name in ("alice", "bob")]
    async with (
        open_client(server.ws_url, credentials[0]) as alice,
        open_client(server.ws_url, credentials[1]) as bob,
        api(server) as http,
    ):
        for client in (alice, bob):
            await client.join("@me")
        body = {"user": alice.user["id"], "event": "chat.message", "data": {"text": "for you"}}
        assert (await http.post("/api/publish", json=body)).status_code == 202
        await alice.expect("message", room="@me", data={"text": "for you"})
        assert "message" not in {frame["type"] for frame in await bob.on_the_way()}


async def test_repeating_a_request_with_the_same_id_delivers_once(
    server: AppServer, room: str
) -> None:
    body = {"room": room, "event": "chat.message", "data": {"text": "once"}, "id": "same"}
    async with (
        open_client(server.ws_url, await sign_in(server.url, "alice")) as alice,
        api(server) as http,
    ):
        await alice.join(room)
        answers = [(await http.post("/api/publish", json=body)).json() for _ in range(3)]
        assert answers[0] == answers[1] == answers[2]
        other = await http.post("/api/publish", json={**body, "data": {"text": "other"}})
        assert other.status_code == 409
        await alice.publish(room, "last")
        texts = [message["data"]["text"] for message in await alice.messages(2)]
        assert texts == ["once", "last"]


async def test_a_signal_reaches_the_members_and_has_no_position(
    server: AppServer, room: str
) -> None:
    async with (
        open_client(server.ws_url, await sign_in(server.url, "alice")) as alice,
        api(server) as http,
    ):
        await alice.join(room)
        answer = await http.post("/api/publish", json={"room": room, "event": "chat.typing"})
        assert (answer.status_code, answer.json()) == (202, {"epoch": None, "offset": None})
        assert "sender" not in await alice.expect("signal", room=room, event="chat.typing")


async def test_a_room_tells_who_is_in_it(server: AppServer, room: str) -> None:
    async with (
        open_client(server.ws_url, await sign_in(server.url, "alice")) as alice,
        api(server) as http,
    ):
        assert (await http.get(f"/api/rooms/{room}")).json() == {"count": 0, "members": []}
        await alice.join(room)
        answer = await http.get(f"/api/rooms/{room}")
        assert answer.json() == {"count": 1, "members": [alice.user]}


async def test_a_large_room_tells_everybody_who_is_in_it(
    start_server: StartServer, room: str
) -> None:
    count = 3 * RealtimeSettings().presence_members // 2
    server = await start_server(*CROWD, API_KEYS=KEY)
    async with crowd_in(server, room, count) as members, api(server) as http:
        assert "members" not in await members[0].join(room)
        answer = await http.get(f"/api/rooms/{room}")
        state = answer.json()
        assert state["count"] == count
        expected = sorted((it.user for it in members), key=lambda it: (it["name"], it["id"]))
        assert state["members"] == expected
        assert len(answer.content) < 60 * count
    async with api(server) as http:
        await until_empty(http, room)


async def until_empty(http: httpx.AsyncClient, room: str) -> None:
    """Wait until nobody is in a room."""
    async with asyncio.timeout(PATIENCE):
        while (await http.get(f"/api/rooms/{room}")).json() != {"count": 0, "members": []}:
            await asyncio.sleep(0.02)


async def test_disconnecting_a_user_closes_all_of_their_sockets_and_no_others(
    server: AppServer,
) -> None:
    credentials = [await sign_in(server.url, name) for name in ("alice", "bob")]
    async with (
        open_client(server.ws_url, credentials[0]) as alice,
        open_client(server.ws_url, credentials[1]) as bob,
        api(server) as http,
    ):
        await alice.expect("welcome")
        await bob.expect("welcome")
        answer = await http.post("/api/disconnect", json={"user": alice.user["id"]})
        assert answer.status_code == 202
        await alice.socket.wait_closed()
        assert alice.socket.close_code == 4403
        assert await bob.on_the_way() == []


async def test_disconnecting_a_user_closes_their_other_sockets_too(server: AppServer) -> None:
    credentials = await sign_in(server.url, "alice")
    async with open_client(server.ws_url, credentials, "/ws/echo") as alice, api(server) as http:
        await alice.expect("welcome")
        await http.post("/api/disconnect", json={"user": alice.user["id"]})
        await alice.socket.wait_closed()
        assert alice.socket.close_code == 4403


async def test_an_evicted_user_leaves_the_room_and_can_join_again(
    server: AppServer, room: str
) -> None:
    credentials = [await sign_in(server.url, name) for name in ("alice", "bob")]
    async with (
        open_client(server.ws_url, credentials[0]) as alice,
        open_client(server.ws_url, credentials[1]) as bob,
        api(server) as http,
    ):
        await alice.join(room)
        await bob.join(room)
        body = {"user": bob.user["id"], "room": room}
        assert (await http.post("/api/evict", json=body)).status_code == 202
        await bob.expect("left", room=room, reason="evicted")
        await alice.expect("presence", user=bob.user, event="leave")
        await alice.publish(room, "without bob")
        await alice.expect("message")
        assert "message" not in {frame["type"] for frame in await bob.on_the_way()}
        assert (await bob.join(room))["count"] == 2


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": f"Bearer {KEY[:-1]}"},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": f"Bearer {OTHER_KEY},{KEY}"},
    ],
    ids=["none", "empty", "wrong", "basic", "shorter", "longer", "both"],
)
async def test_without_a_valid_key_every_request_is_refused(
    server: AppServer, headers: dict[str, str]
) -> None:
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as http:
        answers = [await http.post(path, json=body) for path, body in REQUESTS.items()]
        answers += [await http.get("/api/rooms/lobby"), await http.post("/api/publish", json={})]
    assert {answer.status_code for answer in answers} == {401}
    assert {answer.headers["WWW-Authenticate"] for answer in answers} == {"Bearer"}


async def test_every_key_is_valid_and_none_is_logged(server: AppServer) -> None:
    for key in (KEY, OTHER_KEY):
        async with api(server, key) as http:
            for path, body in REQUESTS.items():
                assert (await http.post(path, json=body)).status_code == 202
    for key in (KEY, OTHER_KEY):
        assert key not in server.read_log()


PUBLISH = REQUESTS["/api/publish"]
INVALID = {
    "no address": ("/api/publish", {"event": "chat.message", "data": {"text": "x"}}, "room"),
    "two addresses": ("/api/publish", {**PUBLISH, "user": "u"}, "room"),
    "bad room": ("/api/publish", {**PUBLISH, "room": "no spaces"}, "room"),
    "own room": ("/api/publish", {**PUBLISH, "room": "@me"}, "room"),
    "unknown event": ("/api/publish", {**PUBLISH, "event": "no.such"}, "event"),
    "bad data": ("/api/publish", {**PUBLISH, "data": {"text": ""}}, "text"),
    "no data": ("/api/publish", {**PUBLISH, "data": {}}, "text"),
    "bad id": ("/api/publish", {**PUBLISH, "id": "i" * 65}, "id"),
    "no user": ("/api/disconnect", {}, "user"),
    "bad user": ("/api/disconnect", {"user": "u" * 65}, "user"),
    "evict nowhere": ("/api/evict", {"user": "u"}, "room"),
}


@pytest.mark.parametrize(("path", "body", "field"), INVALID.values(), ids=INVALID)
async def test_an_invalid_request_is_refused_with_the_name_of_the_field(
    server: AppServer, path: str, body: dict[str, object], field: str
) -> None:
    async with api(server) as http:
        answer = await http.post(path, json=body)
    assert answer.status_code == 422
    assert field in str(answer.json()["detail"])


async def test_a_body_that_is_too_large_is_refused(server: AppServer) -> None:
    async with api(server) as http:
        answer = await http.post("/api/publish", json={**PUBLISH, "data": {"text": "x" * 70_000}})
    assert answer.status_code == 413


async def test_rate_limits_do_not_apply_to_the_api(start_server: StartServer, room: str) -> None:
    server = await start_server(API_KEYS=KEY, MESSAGES_PER_SECOND=1)
    async with api(server) as http:
        answers = [
            await http.post("/api/publish", json={**PUBLISH, "room": room}) for _ in range(50)
        ]
    assert {answer.status_code for answer in answers} == {202}


async def test_the_api_is_described_by_openapi(server: AppServer) -> None:
    async with httpx.AsyncClient(base_url=server.url) as http:
        description = (await http.get("/openapi.json")).json()
    assert {*REQUESTS, "/api/rooms/{room}"} <= description["paths"].keys()
    for path in REQUESTS:
        operation = description["paths"][path]["post"]
        assert {"202", "401", "422", "503"} <= operation["responses"].keys()
        assert operation["security"] == [{"HTTPBearer": []}]


async def test_without_api_keys_there_is_no_api(start_server: StartServer) -> None:
    server = await start_server()
    async with api(server) as http:
        for path, body in REQUESTS.items():
            assert (await http.post(path, json=body)).status_code == 404
        assert (await http.get("/api/rooms/lobby")).status_code == 404
        assert "/api/publish" not in (await http.get("/openapi.json")).json()["paths"]
