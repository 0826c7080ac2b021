"""The promises of `/ws`, over real sockets, with every broker."""

import asyncio
import json
from dataclasses import replace

import pytest
from websockets.frames import Frame, Opcode

from tests.support.auth import sign_in
from tests.support.client import PATIENCE, Client, open_client
from tests.support.server import AppServer, StartServer

HELLO = {"event": "chat.message", "data": {"text": "hello"}}


async def test_welcome_comes_first(server: AppServer) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        welcome = await alice.receive()
    assert welcome["type"] == "welcome"
    assert welcome["connection"]
    assert welcome["user"].keys() == {"id", "name"}
    assert all(welcome["user"].values())
    assert welcome["heartbeat"] == 1


async def test_every_member_receives_a_message_including_its_sender(
    server: AppServer, room: str
) -> None:
    credentials = [await sign_in(server.url, name) for name in ("alice", "bob")]
    async with (
        open_client(server.ws_url, credentials[0]) as alice,
        open_client(server.ws_url, credentials[1]) as bob,
    ):
        await alice.join(room)
        await bob.join(room)
        await alice.publish(room, "hello", id="first")
        for client in (alice, bob):
            message = await client.expect("message", room=room)
            assert message["id"] == "first"
            assert message["sender"] == alice.user
            assert message["event"] == "chat.message"
            assert message["data"] == {"text": "hello"}
            assert message["sent_at"].endswith("Z")


async def test_live_messages_follow_joined_without_a_gap(server: AppServer, room: str) -> None:
    credentials = await sign_in(server.url, "alice")
    async with (
        open_client(server.ws_url, credentials) as alice,
        open_client(server.ws_url, credentials) as late,
    ):
        await alice.join(room)
        for number in range(10):
            await alice.publish(room, str(number))
        before = await alice.messages(10)
        joined = await late.join(room)
        assert joined["offset"] == before[-1]["offset"]
        for number in range(10, 20):
            await alice.publish(room, str(number))
        after = await alice.messages(10)
        received = await late.messages(20)  # the first ten come from history
        assert received == before + after
        assert [message["data"]["text"] for message in received] == [str(n) for n in range(20)]
        offsets = [message["offset"] for message in received]
        assert offsets == sorted(set(offsets))


async def test_a_burst_of_messages_reaches_every_member(
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
        publishes = ({"type": "publish", "room": room, "id": number, **HELLO} for number in numbers)
        frames = (Frame(Opcode.TEXT, json.dumps(publish).encode()) for publish in publishes)
        # In one piece, as a client that was suspended may send them.
        alice.socket.transport.write(b"".join(frame.serialize(mask=True) for frame in frames))
        for client in (alice, listener):
            assert [(await client.expect("message"))["id"] for _ in numbers] == numbers


async def test_a_client_that_left_a_room_receives_nothing_more_of_it(
    server: AppServer, room: str
) -> None:
    credentials = await sign_in(server.url, "alice")
    async with (
        open_client(server.ws_url, credentials) as alice,
        open_client(server.ws_url, credentials) as bob,
    ):
        await alice.join(room)
        await bob.join(room)
        await bob.send(type="leave", room=room)
        assert await bob.expect("left", room=room) == {"type": "left", "room": room}
        await alice.publish(room, "secret")
        await alice.expect("message")
        await bob.on_the_way()
        assert "message" not in {message["type"] for message in bob.seen}


async def test_a_message_stays_in_its_room(server: AppServer, room: str) -> None:
    credentials = await sign_in(server.url, "alice")
    async with open_client(server.ws_url, credentials) as alice:
        await alice.join(room)
        await alice.join(f"{room}.2"[-64:])
        await alice.publish(room, "here")
        assert (await alice.expect("message"))["room"] == room
        assert "message" not in {message["type"] for message in await alice.on_the_way()}


async def test_a_client_has_to_join_a_room_before_it_publishes_there(
    server: AppServer, room: str
) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        await alice.publish(room, "hello", id="early")
        await alice.expect("error", code="not_joined", room=room, ref="early")
        await alice.send(type="leave", room=room)
        await alice.expect("error", code="not_joined", room=room)


# --- The user's own room ----------------------------------------------------------


async def test_clients_cannot_publish_or_signal_to_the_room_of_their_user(
    server: AppServer,
) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "zoe")) as alice:
        await alice.join("@me")
        await alice.publish("@me", "hello", id="mine")
        await alice.expect("error", code="forbidden", room="@me", ref="mine")
        await alice.signal("@me", "chat.typing")
        await alice.expect("error", code="forbidden", room="@me")
        await alice.send(type="history", room="@me")
        assert (await alice.expect("history", room="@me"))["messages"] == []


@pytest.mark.parametrize("type", ["join", "leave", "history", "publish", "signal"])
async def test_no_client_reaches_the_room_of_another_user(server: AppServer, type: str) -> None:  # noqa: A002
    credentials = [await sign_in(server.url, name) for name in ("zoe", "mallory")]
    async with (
        open_client(server.ws_url, credentials[0]) as alice,
        open_client(server.ws_url, credentials[1]) as mallory,
    ):
        await alice.join("@me")
        room = f"@{alice.user['id']}"
        await mallory.send(type=type, room=room, id="1", **HELLO)
        await mallory.expect("error", code="invalid", room=room[:64])
        assert await alice.on_the_way() == []


# --- Invalid messages -------------------------------------------------------------


def publish(room: object = "r", id: object = "1", **fields: object) -> str:  # noqa: A002
    return json.dumps({"type": "publish", "room": room, "id": id, **HELLO, **fields})


def signal(**fields: object) -> str:
    return json.dumps({"type": "signal", "room": "r", "event": "chat.typing", "data": {}, **fields})


def call(**fields: object) -> str:
    return json.dumps({"type": "call", "id": "1", **HELLO, **fields})


def history(**fields: object) -> str:
    return json.dumps({"type": "history", "room": "r", **fields})


HOSTILE = [
    "",
    "{",
    "null",
    "[]",
    '"join"',
    "{}",
    '{"type": "fly"}',
    '{"type": ["publish"], "event": "chat.message"}',
    '{"type": "join"}',
    '{"type": "join", "room": 7}',
    '{"type": "join", "room": "no spaces"}',
    '{"type": "join", "room": "line\\n"}',
    '{"type": "join", "room": ""}',
    '{"type": "join", "room": "@"}',
    '{"type": "join", "room": "@me\\n"}',
    json.dumps({"type": "join", "room": "r" * 65}),
    '{"type": "join", "room": "r", "since": {"epoch": "e", "offset": -1}}',
    '{"type": "join", "room": "r", "since": {"epoch": "e", "offset": 1e400}}',
    '{"type": "join", "room": "\\ud800"}',
    '{"type": "publish", "room": "r", "id": "1", "text": "hello"}',
    '{"type": "publish", "room": "r", "id": "1", "event": "chat.message"}',
    publish(data={}),
    publish(data={"text": ""}),
    publish(data={"text": "t" * 4097}),
    publish(data={"text": None}),
    publish(data={"text": 7}),
    publish(data={"text": ["hello"]}),
    publish(data="hello"),
    publish(data=[]),
    publish(data=None),
    publish(data={"text": "\ud800"}),
    publish(data={"text": float("nan")}),
    publish(id="\ud800"),
    publish(id="i" * 65),
    publish(id=""),
    publish(id=1),
    publish(id=None),
    publish(room="\ud800"),
    publish(event="no.such"),
    publish(event=""),
    publish(event="\ud800"),
    publish(event="e" * 9000),
    publish(event=7),
    publish(event=None),
    publish(event="chat.typing"),
    publish(event="chat.message\n"),
    signal(event="chat.message"),
    signal(event="no.such"),
    signal(event=["chat.typing"]),
    signal(data=None),
    signal(data=[]),
    signal(data="NaN"),
    signal(room="no spaces"),
    call(event="no.such"),
    call(event="chat.message"),
    call(event=None),
    call(id="i" * 65),
    call(id={}),
    history(room="no spaces"),
    history(room=None),
    history(before=-1),
    history(before="7"),
    history(before=1.5),
    history(before=float("nan")),
    history(before=float("inf")),
    history(limit=0),
    history(limit=-1),
    history(limit=101),
    history(limit=2**64),
    history(limit=None),
    history(limit=True),
    '{"type": "history", "room": "r", "before": 1e400}',
    "[" * 60000,
    '{"type":' * 7000,
    '{"type": "publish", "data":' + "[" * 30000,
]


@pytest.mark.parametrize("frame", HOSTILE, ids=lambda frame: frame[:60])
async def test_an_invalid_message_is_answered_and_the_socket_stays_open(
    server: AppServer, frame: str
) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "mallory")) as mallory:
        await mallory.socket.send(frame)
        error = await mallory.expect("error", code="invalid")
        assert error["detail"]
        await mallory.send(type="ping")
        await mallory.expect("pong")


async def test_an_offset_of_any_size_can_be_asked_for(server: AppServer, room: str) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "mallory")) as mallory:
        joined = await mallory.join(room)
        for offset in (2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**100):
            await mallory.send(type="history", room=room, before=offset)
            answer = await mallory.expect("history", room=room)
            assert (answer["messages"], answer["complete"]) == ([], True)
            again = await mallory.join(room, since=joined | {"offset": offset})
            assert again["recovered"] is False


async def test_the_error_for_an_invalid_publish_names_the_room_and_the_id(
    server: AppServer, room: str
) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        await alice.publish(room, "t" * 4097, id="long")
        await alice.expect("error", code="invalid", room=room, ref="long")


async def test_unknown_fields_are_ignored(server: AppServer, room: str) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        await alice.send(type="join", room=room, future="field")
        await alice.expect("joined", room=room)
        data = {"text": "hello", "future": "field"}
        await alice.send(
            type="publish", room=room, id="1", event="chat.message", data=data, future="field"
        )
        message = await alice.expect("message", id="1")
        assert message["data"] == {"text": "hello"}
        assert "future" not in message


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


async def test_a_frame_that_is_too_big_closes_with_1009(server: AppServer) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        await alice.socket.send("x" * 65537)
        assert await closed(alice) == 1009


async def test_the_rooms_of_a_connection_are_limited(server: AppServer, room: str) -> None:
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
