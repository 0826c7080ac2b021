"""Signals: to everybody else in a room, at once or never."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.realtime.broker import BrokerUnavailable, Record
from app.realtime.broker.memory import MemoryBackend
from app.realtime.connection import Connection
from app.realtime.events import Events
from app.realtime.identity import User
from app.realtime.manager import ConnectionManager
from app.realtime.metrics import POISON, SIGNALS_LOST
from app.realtime.parser import ClientMessages
from app.realtime.payloads import signal_body
from app.realtime.protocol import Join, Member, Position, Presence, SendSignal
from app.realtime.room import Room
from tests.engine.doubles import TransportSocket, connection
from tests.engine.example.events import ChatTyping
from tests.engine.example.settings import Settings
from tests.support.auth import sign_in
from tests.support.client import open_client
from tests.support.server import AppServer

# --- Over real sockets ------------------------------------------------------------


async def test_a_signal_reaches_every_other_connection_and_not_its_sender(
    server: AppServer, room: str
) -> None:
    credentials = [await sign_in(server.url, name) for name in ("alice", "bob")]
    async with (
        open_client(server.ws_url, credentials[0]) as alice,
        open_client(server.ws_url, credentials[0]) as second,
        open_client(server.ws_url, credentials[1]) as bob,
    ):
        for client in (alice, second, bob):
            await client.join(room)
        await alice.signal(room, "chat.typing")
        expected = {"type": "signal", "room": room, "event": "chat.typing", "data": {}}
        for client in (second, bob):
            assert await client.expect("signal") == {**expected, "sender": alice.user}
        assert "signal" not in {frame["type"] for frame in await alice.on_the_way()}


async def test_a_signal_is_not_remembered(server: AppServer, room: str) -> None:
    credentials = [await sign_in(server.url, name) for name in ("alice", "bob")]
    async with (
        open_client(server.ws_url, credentials[0]) as alice,
        open_client(server.ws_url, credentials[1]) as bob,
    ):
        await bob.join(room)
        joined = await alice.join(room)
        await alice.signal(room, "chat.typing")
        await bob.expect("signal")
        again = await bob.join(room, joined)
        assert (again["recovered"], again["offset"]) == (True, joined["offset"])
        await bob.send(type="history", room=room)
        assert (await bob.expect("history"))["messages"] == []


async def test_signals_and_messages_arrive_in_the_order_in_which_they_were_sent(
    server: AppServer, room: str
) -> None:
    credentials = [await sign_in(server.url, name) for name in ("alice", "bob")]
    async with (
        open_client(server.ws_url, credentials[0]) as alice,
        open_client(server.ws_url, credentials[1]) as bob,
    ):
        await alice.join(room)
        await bob.join(room)
        for number in range(20):
            await alice.signal(room, "chat.typing")
            await alice.publish(room, str(number))
        kinds = [(await bob.receive())["type"] for _ in range(40)]
        assert kinds == ["signal", "message"] * 20


async def test_a_signal_takes_joining_first_and_is_not_for_the_own_room(
    server: AppServer, room: str
) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        await alice.signal(room, "chat.typing")
        await alice.expect("error", code="not_joined", room=room)
        await alice.join("@me")
        await alice.signal("@me", "chat.typing")
        await alice.expect("error", code="forbidden", room="@me")


# --- In one process ---------------------------------------------------------------


@asynccontextmanager
async def member_of(room: Room, socket: TransportSocket, name: str) -> AsyncIterator[Connection]:
    member = Connection(User(id=name, name=name), Settings(outbox_messages=5))
    member.start(socket)
    room.add(room.name, member)
    yield member
    room.remove(room.name, member)


@pytest.fixture
def lobby() -> Room:
    return Room("lobby", Position(epoch="epoch", offset=0))


def signal(room: Room, sender: str, connection: str = "") -> None:
    room.signal(f"{connection} {signal_body(ChatTyping(), User(id=sender, name=sender))}")


def senders(socket: TransportSocket) -> list[str]:
    """The senders of signals that a socket was given; "-" for another frame."""
    return [frame["sender"]["id"] if "sender" in frame else "-" for frame in socket.given]


def other(room: Room) -> None:
    room.send(Presence(room="lobby", user=Member(id="x", name="x"), event="join"))


async def test_for_a_client_that_is_behind_only_the_newest_of_each_sender_counts(
    lobby: Room,
) -> None:
    slow, fast = TransportSocket(takes=1), TransportSocket()
    async with member_of(lobby, slow, "slow") as member, member_of(lobby, fast, "fast"):
        other(lobby)
        lobby.flush()
        for sender in ("ada", "bob", "ada", "ada", "bob"):
            signal(lobby, sender)
            lobby.flush()
        other(lobby)
        for _ in range(20):
            signal(lobby, "ada")
        lobby.flush()
        assert not member.is_closing
        assert senders(fast) == ["-", "ada", "bob", "ada", "ada", "bob", "-", *["ada"] * 20]
        slow.drain()
        assert senders(slow) == ["-", "bob", "-", "ada"]


async def test_signals_count_against_the_outbox(lobby: Room) -> None:
    slow = TransportSocket(takes=1)
    async with member_of(lobby, slow, "slow") as member:
        other(lobby)
        lobby.flush()
        for number in range(6):
            signal(lobby, f"sender {number}")
        lobby.flush()
        assert member.is_closing


async def test_a_sender_that_is_behind_does_not_receive_its_own_signal(lobby: Room) -> None:
    slow = TransportSocket(takes=1)
    async with member_of(lobby, slow, "slow") as member:
        other(lobby)
        lobby.flush()
        signal(lobby, "slow", member.id)
        other(lobby)
        lobby.flush()
        slow.drain()
        assert senders(slow) == ["-", "-"]


async def test_a_sender_receives_what_others_send_in_the_same_write(lobby: Room) -> None:
    alice, bob = TransportSocket(), TransportSocket()
    async with member_of(lobby, alice, "alice") as sender, member_of(lobby, bob, "bob"):
        signal(lobby, "bob", "another")
        signal(lobby, "alice", sender.id)
        other(lobby)
        lobby.flush()
        assert senders(alice) == ["bob", "-"]
        assert senders(bob) == ["bob", "alice", "-"]


VALID = '{"event":"e","data":{}'


@pytest.mark.parametrize(
    "payload",
    [
        "",
        " ",
        "no-space",
        " {}",
        f" {VALID}",
        f" {VALID}}} ",
        f' {VALID},"type":"message"}}',
        f' {VALID},"offset":1}}',
        f' {VALID},"sender":"bob"}}',
        f" {VALID.replace('{}', '[]')}}}",
        ' {"event":"e","data":{"x":NaN}}',
    ],
)
async def test_a_malformed_signal_is_counted_and_skipped(lobby: Room, payload: str) -> None:
    socket = TransportSocket()
    before = POISON._value.get()
    async with member_of(lobby, socket, "alice"):
        lobby.signal(payload)
        signal(lobby, "bob")
        lobby.flush()
    assert senders(socket) == ["bob"]
    assert POISON._value.get() == before + 1


class AwayBackend(MemoryBackend):
    """Takes no plain strings."""

    def submit(
        self, channel: str, message: str | Record, seen: Position | None = None
    ) -> Position | None:
        if isinstance(message, str):
            raise BrokerUnavailable
        return super().submit(channel, message, seen)


async def test_a_signal_that_the_broker_does_not_take_is_counted() -> None:
    messages = ClientMessages(Events([ChatTyping]))
    typing = messages.parse('{"type":"signal","room":"room","event":"chat.typing","data":{}}')
    assert isinstance(typing, SendSignal)
    manager = ConnectionManager(AwayBackend("memory://", 10, 10), Settings())
    alice = connection()
    before = SIGNALS_LOST._value.get()
    async with manager.running():
        await manager.join(alice, Join(type="join", room="room"))
        manager.signal(alice, typing)
        await manager.disconnect(alice)
    assert SIGNALS_LOST._value.get() == before + 1
