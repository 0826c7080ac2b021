"""The promises of `/ws`, over real sockets, with every broker."""

import asyncio
import json
from dataclasses import replace

import pytest
from websockets.frames import Frame, Opcode

from tests.support.auth import sign_in
from tests.support.client import PATIENCE, Client, open_client
from tests.support.server import StartServer
from tests.support.server import AppServer


async def test_welcome_comes_first(server: AppServer) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        welcome = await alice.receive()
    assert welcome["type"] == "welcome"
    assert welcome["connection"]
    assert welcome["user"]
    assert welcome["heartbeat"] == 1


async def test_every_member_receives_a_message_and_its_sender_too(
    server: AppServer, room: str
) -> None:
    credentials = [await sign_in(server.url, name) for name in ("alice", "bob")]
    async with (
        open_client(server.ws_url, credentials[0]) as alice,
        open_client(server.ws_url, credentials[1]) as bob,
    ):
        name = (await alice.expect("welcome"))["user"]
        await alice.join(room)
        await bob.join(room)
        await alice.publish(room, "hello", id="first")
        for client in (alice, bob):
            message = await client.expect("message", room=room)
            assert message["id"] == "first"
            assert message["sender"] == name
            assert message["text"] == "hello"
            assert message["sent_at"].endswith("Z")


async def test_offsets_follow_joined_without_a_gap(server: AppServer, room: str) -> None:
    credentials = await sign_in(server.url, "alice")
    async with (
        open_client(server.ws_url, credentials) as alice,
        open_client(server.ws_url, credentials) as late,
    ):
        await alice.join(room)
        for number in range(10):
            await alice.publish(room, str(number))
        await alice.expect("message", text="9")
        joined = await late.join(room)
        assert joined["offset"] == 10
        for number in range(10, 20):
            await alice.publish(room, str(number))
        for number in range(20):  # the first ten are of the past
            message = await late.expect("message")
            assert message["text"] == str(number)
            assert message["offset"] == number + 1


async def test_burst_reaches_everybody(
    start_server: StartServer, broker_url: str, room: str
) -> None:
    server = await start_server(BROKER_URL=broker_url, OUTBOX_MESSAGES=10)
    credentials = await sign_in(server.url, "alice")
    async with (
        open_client(server.ws_url, credentials) as alice,
        open_client(server.ws_url, credentials) as listener,
    ):
        await alice.join(room)
        await listener.join(room)
        numbers = [str(number) for number in range(500)]
        publishes = (
            {"type": "publish", "room": room, "id": number, "text": "t"} for number in numbers
        )
        frames = (Frame(Opcode.TEXT, json.dumps(publish).encode()) for publish in publishes)
        # In one piece, as a client that was suspended may send them.
        alice.socket.transport.write(b"".join(frame.serialize(mask=True) for frame in frames))
        for client in (alice, listener):
            assert [(await client.expect("message"))["id"] for _ in numbers] == numbers


async def test_who_left_receives_nothing_more(server: AppServer, room: str) -> None:
    credentials = await sign_in(server.url, "alice")
    async with (
        open_client(server.ws_url, credentials) as alice,
        open_client(server.ws_url, credentials) as bob,
    ):
        await alice.join(room)
        await bob.join(room)
        await bob.send(type="leave", room=room)
        await bob.expect("left", room=room)
        await alice.publish(room, "secret")
        await alice.expect("message")
        await bob.send(type="ping")
        await bob.expect("pong")
        assert "message" not in {message["type"] for message in bob.seen}


async def test_rooms_are_apart(server: AppServer, room: str) -> None:
    credentials = await sign_in(server.url, "alice")
    async with open_client(server.ws_url, credentials) as alice:
        await alice.join(room)
        await alice.join(f"{room}.2"[-64:])
        await alice.publish(room, "here")
        assert (await alice.expect("message"))["room"] == room


async def test_publishing_takes_joining_first(server: AppServer, room: str) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        await alice.publish(room, "hello", id="early")
        await alice.expect("error", code="not_joined", room=room, ref="early")
        await alice.send(type="leave", room=room)
        await alice.expect("error", code="not_joined", room=room)


HOSTILE = [
    "",
    "{",
    "null",
    "[]",
    '"join"',
    "{}",
    '{"type": "fly"}',
    '{"type": "join"}',
    '{"type": "join", "room": 7}',
    '{"type": "join", "room": "no spaces"}',
    '{"type": "join", "room": "line\\n"}',
    '{"type": "join", "room": ""}',
    json.dumps({"type": "join", "room": "r" * 65}),
    '{"type": "join", "room": "r", "since": {"epoch": "e", "offset": -1}}',
    '{"type": "join", "room": "r", "since": {"epoch": "e", "offset": 1e400}}',
    '{"type": "publish", "room": "r", "id": "1", "text": ""}',
    '{"type": "publish", "room": "r", "id": "1", "text": "\\ud800"}',
    '{"type": "publish", "room": "r", "id": "\\ud800", "text": "t"}',
    '{"type": "join", "room": "\\ud800"}',
    json.dumps({"type": "publish", "room": "r", "id": "1", "text": "t" * 4097}),
    json.dumps({"type": "publish", "room": "r", "id": "i" * 65, "text": "t"}),
    "[" * 60000,
    '{"type":' * 7000,
]


@pytest.mark.parametrize("frame", HOSTILE, ids=lambda frame: frame[:40])
async def test_a_bad_frame_is_answered_and_the_socket_stays_open(
    server: AppServer, frame: str
) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "mallory")) as mallory:
        await mallory.socket.send(frame)
        error = await mallory.expect("error", code="invalid")
        assert error["detail"]
        await mallory.send(type="ping")
        await mallory.expect("pong")


async def test_the_error_of_a_bad_publish_names_it(server: AppServer, room: str) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        await alice.publish(room, "t" * 4097, id="long")
        await alice.expect("error", code="invalid", room=room, ref="long")


async def test_unknown_fields_are_ignored(server: AppServer, room: str) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        await alice.send(type="join", room=room, future="field")
        await alice.expect("joined", room=room)


async def closed(client: Client) -> int:
    """The code with which the server closes the socket."""
    async with asyncio.timeout(PATIENCE):
        await client.socket.wait_closed()
    assert client.socket.close_code is not None
    return client.socket.close_code


async def test_a_binary_frame_closes_with_1003(server: AppServer) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        await alice.socket.send(b"\x00")
        assert await closed(alice) == 1003


async def test_text_that_is_not_utf8_closes_with_1007(server: AppServer) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        await alice.socket.send(b"\xff", text=True)
        assert await closed(alice) == 1007


async def test_a_frame_too_big_closes_with_1009(server: AppServer) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        await alice.socket.send("x" * 65537)
        assert await closed(alice) == 1009


async def test_rooms_of_a_connection_are_limited(server: AppServer, room: str) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        for number in range(128):
            await alice.join(f"{number}.{room}"[:64])
        await alice.send(type="join", room="one-more")
        await alice.expect("error", code="too_many_rooms", room="one-more")
        await alice.join(f"0.{room}"[:64])


async def test_only_the_known_subprotocol_is_chosen(server: AppServer) -> None:
    credentials = await sign_in(server.url, "alice")
    for path in ("/ws", "/ws/echo"):
        for offered, chosen in ((["other", "realtime.v1"], "realtime.v1"), (["other"], None)):
            presented = replace(credentials, subprotocols=offered)
            async with open_client(server.ws_url, presented, path) as alice:
                assert alice.socket.subprotocol == chosen
