"""Frames that are no messages, and the heartbeat."""

import json

from websockets.exceptions import ConnectionClosed

from tests.conformance.target import Failed, Target, equal, new_room
from tests.support.client import Client

NO_MESSAGES = [
    "",
    "no JSON",
    "[]",
    "null",
    "7",
    "{}",
    '{"type": "no such type"}',
    '{"type": 5}',
    '{"type": "join"}',
    '{"type": "join", "room": "not a room"}',
    '{"type": "join", "room": "' + "x" * 65 + '"}',
    '{"type": "join", "room": "lobby", "since": {"epoch": "e"}}',
    '{"type": "publish", "room": "lobby", "id": "", "event": "no.such", "data": {}}',
    '{"type": "history", "room": "lobby", "limit": 101}',
    '{"type": "history", "room": "lobby", "before": -1}',
]


async def ping_is_answered_by_pong(target: Target) -> None:
    async with target.open() as client:
        await client.send(type="ping")
        equal((await client.receive())["type"], "pong", "the answer")


async def what_is_no_message_gets_invalid_and_the_socket_stays_open(target: Target) -> None:
    async with target.open() as client:
        for frame in NO_MESSAGES:
            await client.socket.send(frame)
            answers = await client.on_the_way()
            codes = [it.get("code") for it in answers if it["type"] == "error"]
            equal(codes, ["invalid"], f"the errors for {frame}")


async def unknown_fields_are_ignored(target: Target) -> None:
    room = new_room()
    async with target.open() as client:
        await client.send(type="join", room=room, later="version")
        await client.expect("joined", room=room)
        await client.send(
            type="publish",
            room=room,
            id="1",
            event=target.message.event,
            data={**target.message.data, "later": "version"},
            later={"version": [2]},
        )
        await client.expect("message", room=room, id="1")


async def a_binary_frame_closes_the_socket_with_1003(target: Target) -> None:
    async with target.open() as client:
        await client.socket.send(b'{"type": "ping"}')
        equal(await _close_code(client), 1003, "the close code")


async def a_frame_that_is_too_big_closes_the_socket_with_1009(target: Target) -> None:
    async with target.open() as client:
        padding = "x" * target.max_frame_bytes
        await client.socket.send(json.dumps({"type": "ping", "padding": padding}))
        equal(await _close_code(client), 1009, "the close code")


async def _close_code(client: Client) -> int:
    """The code with which the server closes the socket."""
    try:
        while True:
            await client.receive()
    except ConnectionClosed as closed:
        if closed.rcvd is None:
            raise Failed("the connection ended without a close frame") from None
        return closed.rcvd.code
