"""The AsyncAPI document says what a running server does: nothing else, and nothing wrong."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.realtime.contract.close_codes import CLOSES
from app.realtime.protocol import CloseCode
from tests.engine.contract.payloads import JSON, Document
from tests.engine.example_server import ExampleServer
from tests.support.auth import sign_in
from tests.support.client import Client, open_client
from tests.support.server import AppServer

SHAPES = ("tests.engine.contract.shapes",)
API_KEY = "k" * 32

WITH_EVENTS = {
    "publish.chat.message",
    "publish.every.thing",
    "send_signal.chat.typing",
    "send_signal.moved",
}

NEEDS_A_TOKEN = {"auth", "refresh"}
"""Messages with a credential, which can't be made up."""

examples = settings(
    deadline=None,
    database=None,
    derandomize=True,
    max_examples=25,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest_asyncio.fixture(scope="module")
async def server(folder: Path) -> AsyncIterator[AppServer]:
    """A server with events of all shapes. Its rooms of more than two do not list members."""
    settings = {"PRESENCE_MEMBERS": "2", "API_KEYS": API_KEY, "MAX_ROOMS_PER_CONNECTION": "0"}
    async with ExampleServer(folder, settings, SHAPES).running() as server:
        yield server


@pytest_asyncio.fixture(scope="module")
async def document(server: AppServer) -> Document:
    return await Document.of(server.url)


@pytest_asyncio.fixture
async def alice(server: AppServer) -> AsyncIterator[Client]:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as client:
        await client.expect("welcome")
        yield client


async def refusal(client: Client, payload: JSON) -> JSON | None:
    """The `invalid` with which the server answers, if it does."""
    await client.socket.send(json.dumps(payload))
    answers = [it for it in await client.on_the_way() if it["type"] == "error"]
    return next((it for it in answers if it["code"] == "invalid"), None)


# --- What clients send ------------------------------------------------------------


async def test_the_server_accepts_every_example(document: Document, alice: Client) -> None:
    for key in document.keys("receive"):
        [example] = document.messages[key]["examples"]
        assert document.is_valid(key, example["payload"])
        if key not in NEEDS_A_TOKEN:
            assert await refusal(alice, example["payload"]) is None


@examples
@given(data=st.data())
async def test_the_server_accepts_whatever_fits_the_document(
    server: AppServer, document: Document, data: st.DataObject
) -> None:
    keys = [key for key in document.keys("receive") if key not in NEEDS_A_TOKEN]
    keys.sort(key="join".__eq__)  # the last one, since in a room, an id must not be taken
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as client:
        await client.expect("welcome")
        for key in keys:
            payload = data.draw(document.payloads(key))
            assert document.is_valid(key, payload)
            error = await refusal(client, payload)
            assert error is None, (payload, error)
        for message in client.seen:
            document.check(message)


WRONG: list[tuple[str, Any]] = [
    ("room", "no room"),
    ("room", 5),
    ("id", ""),
    ("id", "x" * 65),
    ("event", "no.such"),
    ("before", -1),
    ("limit", 101),
    ("since", {"epoch": "e"}),
    ("data", None),
    ("type", "no.such"),
]


async def test_the_document_and_the_server_refuse_the_same(
    document: Document, alice: Client
) -> None:
    refused = 0
    for key in document.keys("receive"):
        [example] = document.messages[key]["examples"]
        for field, value in WRONG:
            if field in example["payload"] and key not in NEEDS_A_TOKEN:
                payload = {**example["payload"], field: value}
                assert not document.is_valid(key, payload), payload
                assert await refusal(alice, payload), payload
                refused += 1
    assert refused > 20


# --- What the server sends --------------------------------------------------------


async def test_everything_that_the_server_says_fits_the_document(
    server: AppServer, document: Document, room: str
) -> None:
    async with AsyncExitStack() as stack:
        names = ("alice", "bob", "carol", "dave")
        alice, bob, carol, dave = [
            await stack.enter_async_context(
                open_client(server.ws_url, await sign_in(server.url, name))
            )
            for name in names
        ]
        clients = [alice, bob, carol, dave]
        for client in clients:
            await client.expect("welcome")
        await use_everything(document, alice, bob, room)
        await fill(room, alice, [bob, carol, dave])
        async with httpx.AsyncClient(base_url=server.url) as http:
            headers = {"Authorization": f"Bearer {API_KEY}"}
            body = {"user": alice.user["id"], "room": room}
            await http.post("/api/evict", json=body, headers=headers)
            event = {"room": room, "event": "placed", "data": {"number": 1}}
            await http.post("/api/publish", json=event, headers=headers)
        await alice.expect("left", room=room, reason="evicted")
        await bob.expect("message", event="placed")
        seen = {document.check(message) for client in clients for message in client.seen}
    never = {"resync", "message.place", "message.full"}
    assert set(document.keys("send")) - seen == never


async def use_everything(document: Document, alice: Client, bob: Client, room: str) -> None:
    """Have the server send nearly each of its messages."""
    await alice.join(room)
    await bob.join(room)
    await alice.expect("presence", event="join")
    for number, key in enumerate(it for it in document.keys("receive") if it in WITH_EVENTS):
        [example] = document.messages[key]["examples"]
        payload = {**example["payload"], "room": room, "id": f"id-{number}"}
        await alice.socket.send(json.dumps(payload))
    await bob.expect("message", event="every.thing")
    await bob.expect("signal", event="moved")
    await alice.on_the_way()
    for amount in (0, 1, 11):
        answer = await alice.call("place", amount=amount)
        assert answer["type"] == "result"
    await alice.send(type="history", room=room)
    page = await alice.expect("history")
    assert len(page["messages"]) == 2
    await alice.send(type="publish", room=room, id="1", event="no.such", data={})
    await alice.expect("error", code="invalid", ref="1")
    await bob.send(type="leave", room=room)
    await bob.expect("left")
    await alice.expect("presence", event="leave")


async def fill(room: str, first: Client, others: list[Client]) -> None:
    """Have so many users in a room that its members are not listed any more."""
    for client in others:
        await client.join(room)
    while "count" not in (await first.expect("presence")):
        pass


# --- The document itself ----------------------------------------------------------


async def test_references_lead_somewhere(document: Document) -> None:
    def visit(value: object) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                if key == "$ref":
                    found = document.document
                    for part in str(item).removeprefix("#/").split("/"):
                        found = found[part]
                else:
                    visit(item)
        elif isinstance(value, list):
            for item in value:
                visit(item)

    visit(document.document)


async def test_the_address_is_that_of_the_request(server: AppServer, document: Document) -> None:
    [found] = document.document["servers"].values()
    assert (found["protocol"], found["host"]) == ("ws", server.url.removeprefix("http://"))
    headers = {"Host": "chat.example.com", "X-Forwarded-Proto": "https"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as http:
        [found] = (await http.get("/asyncapi.json")).json()["servers"].values()
    assert (found["protocol"], found["host"]) == ("wss", "chat.example.com")


def test_every_close_code_is_explained_once() -> None:
    codes = [it.code for it in CLOSES]
    assert set(CloseCode) <= set(codes)
    assert codes == sorted(set(codes))


async def test_the_credential_is_declared(server: AppServer, document: Document) -> None:
    """A style of auth that declares none lets everybody connect."""
    schemes = document.document["components"].get("securitySchemes", {})
    async with httpx.AsyncClient(base_url=server.url) as http:
        paths = (await http.get("/openapi.json")).json()["paths"]
    assert bool(schemes) == ("/auth/login" in paths)
    [found] = document.document["servers"].values()
    references = [it["$ref"] for it in found.get("security", [])]
    assert references == [f"#/components/securitySchemes/{name}" for name in schemes]
