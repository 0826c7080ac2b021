"""A rule of the project's own is asked for every join and every publish, and it holds.

The server is `tests/ruled_app.py`, whose rule is:

- `private.NAME`: its owner may enter and publish, and nobody else;
- `board.NAME`: everybody may enter, and its owner may publish;
- `broken`: the rule itself fails;
- `endless`: it never answers.
"""

import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from websockets.exceptions import ConnectionClosed

from tests.support.auth import sign_in
from tests.support.client import Client, open_client
from tests.support.server import RULED, AppServer


@pytest_asyncio.fixture(scope="module")
async def server(folder: Path) -> AsyncIterator[AppServer]:
    """In place of the server that the tests share."""
    server = AppServer(folder, {}, RULED)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def as_user(server: AppServer, name: str) -> AsyncIterator[tuple[Client, str]]:
    """A client, and the name that others see."""
    async with open_client(server.ws_url, await sign_in(server.url, name)) as client:
        yield client, (await client.expect("welcome"))["user"]


def asked(server: AppServer, room: str) -> Counter[str]:
    """What the rule was asked, and how often."""
    return Counter(re.findall(rf'asked action="(\w+)" room="{room}"', server.read_log()))


async def test_a_forbidden_join_brings_no_membership_and_no_message(server: AppServer) -> None:
    async with as_user(server, "ada") as (ada, owner), as_user(server, "mallory") as (mallory, _):
        room = f"private.{owner}"
        joined = await ada.join(room)
        position = {name: joined[name] for name in ("epoch", "offset")}
        for since in ({}, {"since": position}, {"since": {**position, "offset": 0}}):
            await mallory.send(type="join", room=room, **since)
            error = await mallory.expect("error", code="forbidden", room=room)
            assert "ref" not in error
        start = len(mallory.seen)

        await ada.publish(room, "a secret")
        await ada.expect("message", text="a secret")
        await ada.send(type="leave", room=room)
        await ada.expect("left", room=room)
        await ada.join(room)
        await mallory.send(type="leave", room=room)
        await mallory.expect("error", code="not_joined", room=room)
        await mallory.on_the_way()

        assert {message["type"] for message in mallory.seen[start:]} == {"error", "pong"}
        assert not [message for message in ada.seen if message["type"] == "presence"]
        assert all(len(m["members"]) == 1 for m in ada.seen if m["type"] == "joined")


async def test_a_forbidden_publish_is_refused_by_id_and_reaches_nobody(server: AppServer) -> None:
    async with as_user(server, "ada") as (ada, owner), as_user(server, "bob") as (bob, _):
        room = f"board.{owner}"
        await ada.join(room)
        await bob.join(room)
        await ada.publish(room, "allowed")
        await bob.expect("message", text="allowed")

        await bob.publish(room, "graffiti", id="mine")
        await bob.expect("error", code="forbidden", room=room, ref="mine")

        await ada.publish(room, "the next")
        await bob.expect("message", text="the next")
        again = await bob.join(room, since={"epoch": "?", "offset": 0})
        assert again["offset"] == 2
        await ada.on_the_way()
        assert not [m for m in [*ada.seen, *bob.seen] if m.get("text") == "graffiti"]


async def test_publishing_to_a_room_that_is_forbidden_tells_nothing_of_it(
    server: AppServer,
) -> None:
    async with as_user(server, "ada") as (_, owner), as_user(server, "mallory") as (mallory, _):
        await mallory.publish(f"private.{owner}", "hello?", id="1")
        answer = await mallory.receive()
        assert (answer["code"], answer["ref"]) == ("forbidden", "1")


async def test_the_rule_is_asked_for_every_join_and_every_publish(server: AppServer) -> None:
    async with as_user(server, "ada") as (ada, owner):
        room = f"board.{owner}"
        before = asked(server, room)
        joined = await ada.join(room)
        await ada.join(room, since=joined)
        await ada.join(room)
        for _ in range(5):
            await ada.expect("message", id=await ada.publish(room, "hello"))
        assert asked(server, room) - before == {"join": 3, "publish": 5}


@pytest.mark.parametrize("action", ["join", "publish"])
async def test_a_rule_that_fails_lets_nobody_in_and_is_logged(
    server: AppServer, action: str
) -> None:
    async with as_user(server, "ada") as (ada, name), as_user(server, "bob") as (bob, _):
        await ada.send(type=action, room="broken", id="1", text="hello")
        with pytest.raises(ConnectionClosed):
            await ada.expect("never")
        assert ada.socket.close_code == 1011
        await bob.join("lobby")  # the others are served on
        log = server.read_log()
        assert re.search(rf'ERROR app.realtime.connection: connection failed .*user="{name}"', log)
        assert f"LookupError: the rule fails for {action}" in log
