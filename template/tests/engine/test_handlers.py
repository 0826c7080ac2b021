"""Calls, and handlers before a publication. The server is `tests/engine/own_app.py`."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from app.realtime import Call, Event, Pending, Signal, before, handles
from app.realtime.handlers import Handlers
from tests.engine.example_server import ExampleServer
from tests.support.auth import sign_in
from tests.support.client import Client, open_client
from tests.support.server import AppServer

OWN = ("tests.engine.own_app",)


@pytest_asyncio.fixture(scope="module")
async def server(folder: Path) -> AsyncIterator[AppServer]:
    """A server with handlers, in place of the one that all tests share."""
    server = ExampleServer(folder, {"PING_INTERVAL": "1", "PING_TIMEOUT": "1"}, OWN)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
def room() -> str:
    """A room for one test, with a name short enough for a handler to add to it."""
    return f"room.{secrets.token_hex(8)}"


@pytest_asyncio.fixture
async def alice(server: AppServer) -> AsyncIterator[Client]:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as client:
        await client.expect("welcome")
        yield client


# --- Calls ------------------------------------------------------------------------


async def test_a_call_is_answered_with_its_result(alice: Client) -> None:
    await alice.send(type="call", id="first", event="order", data={"amount": 3})
    expected = {"amount": 3, "by": alice.user["name"]}
    await alice.expect("result", id="first", event="ordered", data=expected)


async def test_a_handler_signals_and_publishes_to_the_user(alice: Client) -> None:
    await alice.join("@me")
    await alice.send(type="call", id="second", event="order", data={"amount": 5})
    for text in ("one", "two"):
        signal = await alice.expect("signal", room="@me", event="token")
        assert signal["data"] == {"text": text}
    message = await alice.expect("message", room="@me", id="second", event="ordered")
    assert message["data"]["amount"] == 5


async def test_a_handler_can_answer_with_nothing(alice: Client) -> None:
    await alice.send(type="call", id="1", event="silent", data={})
    assert await alice.expect("result") == {"type": "result", "id": "1"}


async def test_a_refused_call_gets_the_sentence(alice: Client) -> None:
    answer = await alice.call("order", amount=101)
    assert (answer["code"], answer["detail"]) == ("refused", "at most 100 at a time")


async def test_a_call_that_cannot_publish_is_unavailable(alice: Client) -> None:
    assert (await alice.call("order", amount=42))["code"] == "unavailable"


async def test_a_handler_that_fails_is_logged_and_the_socket_stays_open(
    server: AppServer, alice: Client
) -> None:
    answer = await alice.call("order", amount=13)
    assert answer["code"] == "internal"
    assert "thirteen" not in str(answer)
    assert (await alice.call("order", amount=1))["type"] == "result"
    log = server.read_log()
    assert "LookupError: thirteen" in log
    assert 'handler="call order"' in log


@pytest.mark.parametrize(
    ("event", "data", "detail"),
    [
        ("order", {}, "data.amount: "),
        ("order", {"amount": "3"}, "data.amount: "),
        ("ordered", {"amount": 1, "by": "me"}, "event: "),
        ("no.such", {}, "event: there is no event 'no.such'"),
    ],
)
async def test_a_call_with_bad_data_or_without_a_handler_is_refused(
    alice: Client, event: str, data: dict[str, object], detail: str
) -> None:
    answer = await alice.call(event, **data)
    assert answer["code"] in {"invalid", "forbidden"}
    assert answer["detail"].startswith(detail)


async def test_a_slow_handler_holds_up_its_own_connection_only(
    server: AppServer, alice: Client
) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "bob")) as bob:
        await alice.send(type="call", id="slow", event="slow", data={"seconds": 0.5})
        await alice.send(type="ping")
        await bob.on_the_way()
        assert "result" not in {frame["type"] for frame in alice.seen}
        assert (await alice.receive())["type"] == "result"
        assert (await alice.receive())["type"] == "pong"


async def test_a_handler_may_take_longer_than_the_keepalive(alice: Client) -> None:
    await alice.send(type="call", id="slow", event="slow", data={"seconds": 4})
    await alice.send(type="ping")  # from here on, the server reads nothing until the end
    await alice.expect("result", id="slow")
    await alice.expect("pong")


# --- Before a publication ---------------------------------------------------------


async def test_a_publication_passes_through_its_handler(
    server: AppServer, alice: Client, room: str
) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "bob")) as bob:
        await alice.join(room)
        await bob.join(f"{room}.kept")
        await alice.publish_event(room, "note", {"text": "hello"}, "1")
        await alice.expect("message", id="1", event="note", data={"text": "hello"})
        kept = await bob.expect("message", event="ordered")
        assert kept["data"] == {"amount": 5, "by": f"{alice.user['id']} 1"}


@pytest.mark.parametrize(
    ("text", "code"), [("refuse", "refused"), ("fail", "internal")], ids=["refused", "failed"]
)
async def test_what_its_handler_does_not_let_through_reaches_nobody(
    server: AppServer, alice: Client, room: str, text: str, code: str
) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "bob")) as bob:
        await alice.join(room)
        await bob.join(room)
        await alice.publish_event(room, "note", {"text": text}, "1")
        error = await alice.expect("error", code=code, room=room, ref="1")
        if code == "refused":
            assert error["detail"] == "this note is not allowed"
        await alice.publish_event(room, "note", {"text": "next"}, "2")
        assert (await bob.expect("message"))["id"] == "2"


async def test_outside_the_room_the_handler_is_not_called(alice: Client, room: str) -> None:
    await alice.publish_event(room, "note", {"text": "refuse"}, "1")
    await alice.expect("error", code="not_joined", ref="1")


# --- Declaring them ---------------------------------------------------------------


class Asked(Event, event="asked"):
    pass


class Nameless(Event):
    pass


class Blink(Signal, event="blink"):
    pass


async def answer(_: Asked, __: Call) -> None:
    """Answer with nothing."""


async def answer_too(_: Asked, __: Call) -> None:
    """Answer with nothing."""


async def check(_: Asked, __: Pending) -> None:
    """Let everything through."""


def test_handlers_are_found_by_their_event() -> None:
    handlers = Handlers(
        [handles(Asked)(answer), before(Asked)(check), test_handlers_are_found_by_their_event]
    )
    assert handlers.calls == {Asked: answer}
    assert handlers.before == {Asked: check}


def test_two_handlers_for_one_event_are_refused() -> None:
    functions = [handles(Asked)(answer), handles(Asked)(answer_too)]
    with pytest.raises(TypeError, match=r"answer and answer_too are both @handles\(Asked\)"):
        Handlers(functions)


def test_a_handler_has_to_be_async() -> None:
    with pytest.raises(TypeError, match="must be an async function"):
        handles(Asked)(lambda _, __: asyncio.sleep(0))


@pytest.mark.parametrize("event", [Nameless, Blink])
def test_a_signal_and_an_event_without_a_name_have_no_handler(event: Any) -> None:
    with pytest.raises(TypeError, match="must be an Event with a name"):
        handles(event)(answer)
