"""Messages of a client are carried out in their order, and one that waits delays nobody else."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from starlette.datastructures import State

from app.realtime.actions import Action
from app.realtime.broker.memory import MemoryBackend
from app.realtime.connection import Connection
from app.realtime.events import Event, Signal
from app.realtime.identity import User
from app.realtime.limits import ConnectionLimits
from app.realtime.manager import ConnectionManager
from app.realtime.protocol import CloseCode, Publish
from app.realtime.visit import AT_ONCE, Visit, Visits
from tests.engine.doubles import TransportSocket, visits_of
from tests.engine.example.settings import Settings
from tests.support.client import until

SETTINGS = Settings(messages_per_second=0, shutdown_grace=1)


class Gate:
    """The rule of an application, which lets nobody into the rooms `slow…` before it is opened."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.asked: list[str] = []
        self.cancelled = 0

    async def may(
        self, _: User, action: Action, room: str, __: Event | Signal | None, ___: State
    ) -> bool:
        self.asked.append(f"{action} {room}")
        if room.startswith("slow"):
            try:
                await self.opened.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return True


class Peer(TransportSocket):
    """A socket as the server sees it, and what it was told about reading and its end."""

    def __init__(self) -> None:
        super().__init__(takes=100_000)
        self.is_paused = False
        self.pauses = 0
        self.close_code = 0

    def pause_reading(self) -> None:
        self.is_paused = True
        self.pauses += 1

    def resume_reading(self) -> None:
        self.is_paused = False

    async def close_socket(self, code: int, reason: str) -> None:  # noqa: ARG002
        self.close_code = code


class Client:
    """A client whose frames arrive when the test says so."""

    def __init__(self, place: "Place", name: str) -> None:
        self.peer = Peer()
        self.connection = Connection(User(id=name, name=name), SETTINGS)
        admission = place.limits.admit(None, name)
        self.visit = Visit(place.visits, self.connection, admission)
        self.ends = 0
        self.visit.start(self.peer, self._end)

    def _end(self) -> None:
        self.ends += 1

    def send(self, type: str, room: str = "room", **fields: object) -> None:  # noqa: A002
        self.visit.receive(json.dumps({"type": type, "room": room, **fields}))

    def publish(self, id: str, room: str = "room") -> None:  # noqa: A002
        self.send("publish", room, id=id, event="chat.message", data={"text": "hello"})

    def received(self, *types: str) -> list[str]:
        """The messages of these types: the room, the id or the code of each."""
        return [
            str(it.get("id") or it.get("code") or it.get("room") or it["type"])
            for it in self.peer.given
            if it["type"] in types
        ]

    async def ended(self) -> None:
        await until(lambda: self.ends > 0)


class Place:
    """A server without sockets."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.manager = ConnectionManager(MemoryBackend("memory://", 100, 3600), SETTINGS)
        self.limits = ConnectionLimits(Settings(max_connections_per_user=1))
        self.visits: Visits = visits_of(self.manager, SETTINGS, self.gate.may)

    def client(self, name: str = "alice") -> Client:
        return Client(self, name)


@pytest_asyncio.fixture
async def place() -> AsyncIterator[Place]:
    place = Place()
    async with place.manager.running(), place.visits.running():
        yield place
        place.gate.opened.set()
        for socket in list(place.manager.sockets):
            socket.close(CloseCode.FORBIDDEN, "the test ends")


async def turns(count: int = 20) -> None:
    """Let others have their turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_the_client_is_welcomed_before_anything_else(place: Place) -> None:
    alice = place.client()
    assert [it["type"] for it in alice.peer.given] == ["welcome"]
    assert alice.connection in place.manager.sockets


async def test_messages_behind_one_that_waits_are_carried_out_after_it_in_order(
    place: Place,
) -> None:
    alice = place.client()
    alice.send("join", "slow")
    alice.send("join", "quick")
    alice.send("ping")
    alice.publish("1", "slow")
    alice.publish("2", "quick")
    await turns()
    assert alice.peer.is_paused
    assert place.gate.asked == ["join slow"]
    assert alice.received("joined", "pong", "message", "error") == []
    place.gate.opened.set()
    await until(lambda: len(alice.received("message")) == 2)
    assert not alice.peer.is_paused
    assert alice.received("joined", "pong", "message", "error") == [
        "slow", "quick", "pong", "1", "2",
    ]  # fmt: skip


async def test_reading_is_paused_while_a_message_waits_and_no_longer(place: Place) -> None:
    alice = place.client()
    alice.send("join", "slow")
    await turns()
    assert alice.peer.is_paused
    place.gate.opened.set()
    await until(lambda: not alice.peer.is_paused)
    assert alice.received("joined") == ["slow"]
    pauses = alice.peer.pauses
    for number in range(5):
        alice.send("join", f"slow.{number}")
        await turns(30)
    assert not alice.peer.is_paused
    assert alice.received("joined")[1:] == [f"slow.{number}" for number in range(5)]
    assert alice.peer.pauses > pauses


async def test_a_client_that_waits_delays_nobody_else(place: Place) -> None:
    alice, bob = place.client(), place.client("bob")
    alice.send("join", "slow")
    bob.send("join")
    bob.publish("1")
    await until(lambda: bob.received("message") == ["1"])
    assert alice.received("joined") == []


async def test_many_messages_in_one_read_let_others_have_their_turn(place: Place) -> None:
    alice = place.client()
    alice.send("join")
    await until(lambda: not alice.peer.is_paused and alice.received("joined") == ["room"])
    for _ in range(10 * AT_ONCE):
        alice.send("ping")
    assert len(alice.received("pong")) < AT_ONCE
    most, before = 0, 0
    while before < 10 * AT_ONCE:
        await asyncio.sleep(0)
        now = len(alice.received("pong"))
        most, before = max(most, now - before), now
    assert most <= AT_ONCE
    await until(lambda: not alice.peer.is_paused)


async def test_invalid_messages_are_answered_and_binary_frames_close_the_socket(
    place: Place,
) -> None:
    alice = place.client()
    alice.visit.receive("{")
    alice.send("ping")
    await until(lambda: alice.received("error", "pong") == ["invalid", "pong"])
    alice.visit.receive(None)
    await alice.ended()
    assert alice.peer.close_code == CloseCode.UNSUPPORTED_DATA


# --- The end ----------------------------------------------------------------------


async def test_what_arrived_before_the_client_was_gone_is_carried_out(place: Place) -> None:
    alice, bob = place.client(), place.client("bob")
    bob.send("join", "slow")
    place.gate.opened.set()
    await until(lambda: bob.received("joined") == ["slow"])
    place.gate.opened.clear()
    alice.send("join", "slow")
    alice.publish("last", "slow")
    alice.visit.disconnected()
    alice.visit.disconnected()
    await turns()
    assert alice.ends == 0
    place.gate.opened.set()
    await until(lambda: bob.received("message") == ["last"])
    await alice.ended()
    assert not alice.connection.rooms
    assert alice.connection not in place.manager.sockets
    assert alice.peer.close_code == 0  # there is nobody to tell
    place.limits.admit(None, "alice").release()  # it does not count any more


async def test_a_socket_that_the_server_closes_stops_at_once(place: Place) -> None:
    alice = place.client()
    alice.send("join", "quick")
    await until(lambda: alice.received("joined") == ["quick"])
    alice.send("join", "slow")
    alice.send("join", "later")
    await turns()
    alice.connection.close(CloseCode.FORBIDDEN, "enough")
    alice.send("join", "too-late")
    await alice.ended()
    assert place.gate.asked == ["join quick", "join slow"]
    assert place.gate.cancelled == 1
    assert not alice.connection.rooms
    assert alice.peer.close_code == CloseCode.FORBIDDEN
    place.gate.opened.set()
    await turns()
    assert alice.received("joined") == ["quick"]
    alice.visit.disconnected()
    await turns()
    assert alice.ends == 1


async def test_a_socket_that_is_closed_while_its_client_leaves_ends_once(place: Place) -> None:
    alice = place.client()
    alice.send("join")
    await until(lambda: alice.received("joined") == ["room"])
    alice.visit.disconnected()
    alice.connection.close(CloseCode.FORBIDDEN, "enough")
    await alice.ended()
    await turns()
    assert alice.ends == 1
    place.limits.admit(None, "alice").release()


async def test_a_fault_of_the_engine_closes_the_socket_of_its_client_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    alice, bob = place.client(), place.client("bob")

    async def fail(_: Connection, __: Publish) -> None:
        raise LookupError("a fault")

    monkeypatch.setattr(place.manager, "publish", fail)
    alice.publish("1")
    alice.send("ping")
    await alice.ended()
    assert alice.peer.close_code == CloseCode.INTERNAL_ERROR
    bob.send("ping")
    await until(lambda: len(bob.received("pong")) == 1)
    (failure,) = [it for it in caplog.records if it.exc_info]
    assert vars(failure)["connection"] == alice.connection.id


async def test_a_login_that_ends_during_the_handshake_ends_the_socket(place: Place) -> None:
    connection = Connection(User(id="alice", name="Alice"), SETTINGS)
    visit = Visit(place.visits, connection, place.limits.admit(None, "alice"))
    connection.close(CloseCode.UNAUTHENTICATED, "it has ended")
    peer, ended = Peer(), asyncio.Event()
    visit.start(peer, ended.set)
    async with asyncio.timeout(5):
        await ended.wait()
    assert peer.close_code == CloseCode.UNAUTHENTICATED
    assert peer.given == []
    place.limits.admit(None, "alice").release()


async def test_what_does_not_end_within_the_grace_is_cancelled_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = Place()
    async with place.manager.running():
        async with place.visits.running():
            alice = place.client()
            alice.send("join", "slow")
            await turns()
            alice.visit.disconnected()
        assert alice.ends == 1
        assert place.gate.cancelled == 1
    (record,) = [it for it in caplog.records if it.exc_info]
    assert "SHUTDOWN_GRACE" in record.getMessage()
    assert "opened.wait" in caplog.text
