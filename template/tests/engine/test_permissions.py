"""The application's rule is asked for every join, publish and signal, and it holds.

The server is `tests/engine/ruled_app.py`, whose rule is:

- `private.ID`: the user with this id may do everything, and nobody else anything;
- `board.ID`: everybody may join, and the user with this id may publish and signal;
- `polite`: everybody may join, and nobody may publish a swear word;
- `broken`: the rule raises;
- `endless`: the rule never answers.
"""

import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from tests.engine.example_server import ExampleServer
from tests.support.auth import sign_in
from tests.support.client import Client, open_client
from tests.support.server import AppServer

RULED = ("tests.engine.ruled_app",)
"""What follows `python -m` to serve the application with its rule."""


@pytest_asyncio.fixture(scope="module")
async def server(folder: Path) -> AsyncIterator[AppServer]:
    """A server with the rule, in place of the one that all tests share."""
    server = ExampleServer(folder, {}, RULED)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def as_user(server: AppServer, name: str) -> AsyncIterator[Client]:
    """A client that has received its welcome, so that `client.user` is known."""
    async with open_client(server.ws_url, await sign_in(server.url, name)) as client:
        await client.expect("welcome")
        yield client


def asked(server: AppServer, room: str) -> Counter[str]:
    """The actions that the rule was asked about, and how often."""
    return Counter(re.findall(rf'asked action="(\w+)" room="{room}"', server.read_log()))


async def test_a_forbidden_join_gives_no_membership_and_no_message(server: AppServer) -> None:
    async with as_user(server, "ada") as ada, as_user(server, "mallory") as mallory:
        room = f"private.{ada.user['id']}"
        joined = await ada.join(room)
        position = {name: joined[name] for name in ("epoch", "offset")}
        for since in ({}, {"since": position}, {"since": {**position, "offset": 0}}):
            await mallory.send(type="join", room=room, **since)
            error = await mallory.expect("error", code="forbidden", room=room)
            assert "ref" not in error
        start = len(mallory.seen)

        await ada.publish(room, "a secret")
        await ada.expect("message", data={"text": "a secret"})
        await ada.send(type="leave", room=room)
        await ada.expect("left", room=room)
        await ada.join(room)
        await mallory.send(type="history", room=room)
        await mallory.expect("error", code="not_joined", room=room)
        await mallory.send(type="leave", room=room)
        await mallory.expect("error", code="not_joined", room=room)
        await mallory.on_the_way()

        assert {message["type"] for message in mallory.seen[start:]} == {"error", "pong"}
        assert not [message for message in ada.seen if message["type"] == "presence"]
        assert all(len(m["members"]) == 1 for m in ada.seen if m["type"] == "joined")


async def test_a_forbidden_publish_is_refused_by_id_and_reaches_nobody(server: AppServer) -> None:
    async with as_user(server, "ada") as ada, as_user(server, "bob") as bob:
        room = f"board.{ada.user['id']}"
        await ada.join(room)
        await bob.join(room)
        await ada.publish(room, "allowed")
        await bob.expect("message", data={"text": "allowed"})

        await bob.publish(room, "graffiti", id="mine")
        await bob.expect("error", code="forbidden", room=room, ref="mine")

        await ada.publish(room, "the next")
        last = await bob.expect("message", data={"text": "the next"})
        again = await bob.join(room)
        assert again["offset"] == last["offset"]
        await bob.on_the_way()
        await ada.on_the_way()
        texts = [m["data"]["text"] for m in [*ada.seen, *bob.seen] if m["type"] == "message"]
        assert set(texts) == {"allowed", "the next"}


async def test_a_forbidden_signal_is_refused_and_reaches_nobody(server: AppServer) -> None:
    async with as_user(server, "ada") as ada, as_user(server, "bob") as bob:
        room = f"board.{ada.user['id']}"
        await ada.join(room)
        await bob.join(room)
        await bob.signal(room, "chat.typing")
        await bob.expect("error", code="forbidden", room=room)
        await ada.signal(room, "chat.typing")
        await bob.expect("signal", room=room, sender=ada.user)
        assert "signal" not in {frame["type"] for frame in await ada.on_the_way()}


async def test_the_rule_sees_the_event_that_a_client_wants_to_send(server: AppServer) -> None:
    async with as_user(server, "ada") as ada:
        await ada.join("polite")
        await ada.publish("polite", "damn", id="rude")
        await ada.expect("error", code="forbidden", room="polite", ref="rude")
        await ada.publish("polite", "hello", id="kind")
        await ada.expect("message", id="kind")


@pytest.mark.parametrize("type", ["publish", "signal"])
async def test_sending_to_a_forbidden_room_does_not_reveal_whether_it_exists(
    server: AppServer,
    type: str,  # noqa: A002
) -> None:
    async with as_user(server, "ada") as ada, as_user(server, "mallory") as mallory:
        room = f"private.{ada.user['id']}"
        await ada.join(room)
        for name in (room, "private.nobody"):
            if type == "publish":
                await mallory.publish(name, "hello?", id="1")
            else:
                await mallory.signal(name, "chat.typing")
            answer = await mallory.receive()
            assert (answer["code"], answer["room"]) == ("forbidden", name)
            assert answer.get("ref") == ("1" if type == "publish" else None)


async def test_the_rule_is_asked_for_every_join_publish_and_signal(server: AppServer) -> None:
    async with as_user(server, "ada") as ada:
        room = f"board.{ada.user['id']}"
        before = asked(server, room)
        joined = await ada.join(room)
        await ada.join(room, since=joined)
        await ada.join(room)
        for _ in range(5):
            await ada.expect("message", id=await ada.publish(room, "hello"))
        for _ in range(4):
            await ada.signal(room, "chat.typing")
        await ada.on_the_way()
        assert asked(server, room) - before == {"join": 3, "publish": 5, "signal": 4}


async def test_the_rule_is_not_asked_for_the_room_of_the_user(server: AppServer) -> None:
    async with as_user(server, "ada") as ada:
        await ada.join("@me")
        await ada.publish("@me", "hello", id="1")
        await ada.expect("error", code="forbidden", room="@me", ref="1")
        assert 'room="@' not in server.read_log()


@pytest.mark.parametrize("action", ["join", "publish", "signal"])
async def test_a_rule_that_raises_allows_nothing_and_is_logged(
    server: AppServer, action: str
) -> None:
    async with as_user(server, "ada") as ada:
        event = {
            "join": {},
            "publish": {"id": "1", "event": "chat.message", "data": {"text": "hello"}},
            "signal": {"event": "chat.typing", "data": {}},
        }[action]
        await ada.send(type=action, room="broken", **event)
        error = await ada.expect("error", code="internal", room="broken")
        assert error.get("ref") == event.get("id")
        assert "LookupError" not in str(error)
        assert {frame["type"] for frame in await ada.on_the_way()} <= {"error"}
        await ada.join("lobby")  # the socket stays open
        log = server.read_log()
        failed = rf'the application failed .*user="{ada.user["id"]}".* handler="may {action}"'
        assert re.search(f"ERROR app.realtime.actions: {failed}", log)
        assert f"LookupError: the rule fails for {action}" in log
