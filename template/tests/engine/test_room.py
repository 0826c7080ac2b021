"""Each member is given each frame once and in order, whether it keeps up or not."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from starlette.types import Message

from app.realtime.identity import User
from app.realtime.broker import Publication
from app.realtime.connection import Connection
from app.realtime.metrics import DELIVERY_SECONDS
from app.realtime.protocol import CloseCode, Frames, Position, Presence
from app.realtime.room import Room
from app.settings import Settings
from tests.support.client import until


class FakeSocket(asyncio.WriteTransport):
    """A socket without a network, whose buffer is full after so many writes."""

    def __init__(self, takes: int = 1000) -> None:
        super().__init__()
        self.on_change: Callable[[], None] | None = None
        self.takes = takes
        self.given: list[str] = []
        self.writes = 0
        self.closing = False

    @property
    def is_writable(self) -> bool:
        return self.takes > 0

    @property
    def raw_transport(self) -> asyncio.WriteTransport:
        return self

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closing
        assert self.is_writable
        frames = Frames(bytes(data), 1)
        self.given += [json.loads(payload).get("user") for payload in frames.payloads]
        self.writes += 1
        self.takes -= 1
        if not self.takes:
            self._tell_change()

    def write_frames(self, frames: Frames) -> None:
        self.write(frames.wire)

    async def close_socket(self, code: int, reason: str) -> None:
        """Nobody waits for it."""

    def drain(self, takes: int = 1000) -> None:
        """Have the peer read what is in the buffer."""
        self.takes = takes
        self._tell_change()

    def _tell_change(self) -> None:
        assert self.on_change is not None
        self.on_change()


@asynccontextmanager
async def member_of(room: Room, socket: FakeSocket) -> AsyncIterator[Connection]:
    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def no_send(message: Message) -> None:
        raise AssertionError(message)

    async def no_message(message: object) -> None:
        raise AssertionError(message)

    connection = Connection(User(name="alice"), Settings(outbox_messages=5), socket)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(connection.serve(never, no_send, no_message))
        await until(lambda: connection.transport is socket)
        room.add(connection)
        yield connection
        room.remove(connection)
        serving.cancel()


@pytest.fixture
def room() -> Room:
    return Room("room", Position(epoch="epoch", offset=0))


def tell(room: Room, *words: str) -> None:
    """Send frames in one turn of the event loop."""
    for word in words:
        room.send(Presence(room="room", user=word, event="join"))
    room.flush()


async def test_what_comes_at_about_the_same_time_is_one_write(room: Room) -> None:
    socket = FakeSocket()
    async with member_of(room, socket):
        room.send(Presence(room="room", user="1", event="join"))
        await asyncio.sleep(0)
        room.send(Presence(room="room", user="2", event="join"))
        await asyncio.sleep(0)
        room.send(Presence(room="room", user="3", event="join"))
        assert socket.writes == 0
        await until(lambda: socket.given == ["1", "2", "3"])
        assert socket.writes == 1
        room.send(Presence(room="room", user="4", event="join"))
        await until(lambda: socket.given == ["1", "2", "3", "4"])
        assert socket.writes == 2


async def test_a_member_that_falls_behind_misses_nothing_and_gets_nothing_twice(
    room: Room,
) -> None:
    slow, fast = FakeSocket(takes=2), FakeSocket()
    async with member_of(room, slow), member_of(room, fast):
        tell(room, "1")
        tell(room, "2", "3")
        assert slow.given == fast.given == ["1", "2", "3"]
        tell(room, "4")
        tell(room, "5")
        assert slow.given == ["1", "2", "3"]
        slow.drain(takes=1)
        assert slow.given == ["1", "2", "3", "4"]
        tell(room, "6")
        slow.drain()
        tell(room, "7")
        assert slow.given == fast.given == ["1", "2", "3", "4", "5", "6", "7"]


async def test_whoever_comes_while_behind_is_given_the_frames_later(room: Room) -> None:
    other = Room("other", Position(epoch="epoch", offset=0))
    socket = FakeSocket(takes=1)
    async with member_of(other, socket) as connection:
        tell(other, "1")
        room.add(connection)
        tell(room, "2")
        assert socket.given == ["1"]
        socket.drain()
        tell(room, "3")
        tell(other, "4")
        assert socket.given == ["1", "2", "3", "4"]
        room.remove(connection)
        tell(room, "5")
        assert socket.given == ["1", "2", "3", "4"]


async def test_a_member_that_closes_takes_no_more_and_holds_up_nobody(room: Room) -> None:
    leaving, fast = FakeSocket(), FakeSocket()
    async with member_of(room, leaving), member_of(room, fast):
        leaving.closing = True
        tell(room, "1")
        leaving.drain()
        tell(room, "2")
        assert leaving.given == []
        assert fast.given == ["1", "2"]


async def test_a_member_that_is_closed_takes_no_more_and_holds_up_nobody(room: Room) -> None:
    closed, fast = FakeSocket(), FakeSocket()
    async with member_of(room, closed) as connection, member_of(room, fast):
        connection.close(CloseCode.POLICY_VIOLATION, "enough")
        tell(room, "1")
        assert closed.given == []
        assert fast.given == ["1"]


async def test_too_much_for_one_member_ends_that_one(room: Room) -> None:
    stalled, fast = FakeSocket(takes=1), FakeSocket()
    async with member_of(room, stalled) as connection, member_of(room, fast):
        for number in range(8):
            tell(room, str(number))
        assert connection.is_closing
        assert stalled.given == ["0"]
        assert fast.given == [str(number) for number in range(8)]


async def test_a_clock_that_is_ahead_takes_nothing_from_the_latency() -> None:
    room = Room("room", Position(epoch="epoch", offset=0))
    ahead = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    body = {"id": "1", "sender": "bob", "text": "hello", "sent_at": ahead}
    before = seconds_counted()
    async with member_of(room, FakeSocket()):
        room.deliver(Publication("room", json.dumps(body), Position(epoch="epoch", offset=1)))
        room.flush()
    assert seconds_counted() >= before


def seconds_counted() -> float:
    samples = next(iter(DELIVERY_SECONDS.collect())).samples
    return next(sample.value for sample in samples if sample.name.endswith("_sum"))
