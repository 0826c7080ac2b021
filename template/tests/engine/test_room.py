"""Each member is sent each frame once and in order, whether it keeps up or not."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from app.realtime.broker import History, Publication
from app.realtime.connection import Connection
from app.realtime.identity import User
from app.realtime.metrics import DELIVERY_SECONDS, POISON
from app.realtime.protocol import CloseCode, Member, Position, Presence
from app.realtime.room import Room
from tests.engine.doubles import TransportSocket
from tests.engine.example.settings import Settings
from tests.support.client import until


def words(socket: TransportSocket) -> list[str]:
    """The ids of the users in the frames that a socket was given."""
    return [frame["user"]["id"] for frame in socket.given]


@asynccontextmanager
async def member_of(room: Room, socket: TransportSocket) -> AsyncIterator[Connection]:
    connection = Connection(User(id="alice", name="alice"), Settings(outbox_messages=5))
    connection.start(socket)
    room.add(room.name, connection)
    yield connection
    room.remove(room.name, connection)


@pytest.fixture
def room() -> Room:
    return Room("room", Position(epoch="epoch", offset=0))


def word(text: str) -> Presence:
    """A frame with a word in it."""
    return Presence(room="room", user=Member(id=text, name=text), event="join")


def tell(room: Room, *texts: str) -> None:
    """Send frames in one turn of the event loop."""
    for text in texts:
        room.send(word(text))
    room.flush()


async def test_frames_that_come_at_about_the_same_time_are_one_write(room: Room) -> None:
    socket = TransportSocket()
    async with member_of(room, socket):
        room.send(word("1"))
        await asyncio.sleep(0)
        room.send(word("2"))
        await asyncio.sleep(0)
        room.send(word("3"))
        assert socket.writes == 0
        await until(lambda: words(socket) == ["1", "2", "3"])
        assert socket.writes == 1
        room.send(word("4"))
        await until(lambda: words(socket) == ["1", "2", "3", "4"])
        assert socket.writes == 2


async def test_a_member_that_falls_behind_misses_nothing_and_gets_nothing_twice(
    room: Room,
) -> None:
    slow, fast = TransportSocket(takes=2), TransportSocket()
    async with member_of(room, slow), member_of(room, fast):
        tell(room, "1")
        tell(room, "2", "3")
        assert words(slow) == words(fast) == ["1", "2", "3"]
        tell(room, "4")
        tell(room, "5")
        assert words(slow) == ["1", "2", "3"]
        slow.drain(takes=1)
        assert words(slow) == ["1", "2", "3", "4"]
        tell(room, "6")
        slow.drain()
        tell(room, "7")
        assert words(slow) == words(fast) == ["1", "2", "3", "4", "5", "6", "7"]


async def test_a_client_that_joins_while_it_is_behind_gets_the_frames_later(room: Room) -> None:
    other = Room("other", Position(epoch="epoch", offset=0))
    socket = TransportSocket(takes=1)
    async with member_of(other, socket) as connection:
        tell(other, "1")
        room.add(room.name, connection)
        tell(room, "2")
        assert words(socket) == ["1"]
        socket.drain()
        tell(room, "3")
        tell(other, "4")
        assert words(socket) == ["1", "2", "3", "4"]
        room.remove(room.name, connection)
        tell(room, "5")
        assert words(socket) == ["1", "2", "3", "4"]


async def test_a_member_that_disconnects_gets_nothing_more_and_delays_nobody(room: Room) -> None:
    leaving, fast = TransportSocket(), TransportSocket()
    async with member_of(room, leaving), member_of(room, fast):
        leaving.closing = True
        tell(room, "1")
        leaving.drain()
        tell(room, "2")
        assert words(leaving) == []
        assert words(fast) == ["1", "2"]


async def test_a_member_that_is_closed_gets_nothing_more_and_delays_nobody(room: Room) -> None:
    closed, fast = TransportSocket(), TransportSocket()
    async with member_of(room, closed) as connection, member_of(room, fast):
        connection.close(CloseCode.POLICY_VIOLATION, "enough")
        tell(room, "1")
        assert words(closed) == []
        assert words(fast) == ["1"]


async def test_only_the_member_with_a_full_outbox_is_closed(room: Room) -> None:
    stalled, fast = TransportSocket(takes=1), TransportSocket()
    async with member_of(room, stalled) as connection, member_of(room, fast):
        for number in range(8):
            tell(room, str(number))
        assert connection.is_closing
        assert words(stalled) == ["0"]
        assert words(fast) == [str(number) for number in range(8)]


async def test_a_clock_that_is_ahead_does_not_lower_the_latency() -> None:
    room = Room("room", Position(epoch="epoch", offset=0))
    ahead = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    body = {"id": "1", "event": "chat.message", "data": {"text": "hello"}, "sent_at": ahead}
    before = seconds_counted()
    async with member_of(room, TransportSocket()):
        room.deliver(Publication("room", json.dumps(body), Position(epoch="epoch", offset=1), 0))
        room.flush()
    assert seconds_counted() >= before


def seconds_counted() -> float:
    samples = next(iter(DELIVERY_SECONDS.collect())).samples
    return next(sample.value for sample in samples if sample.name.endswith("_sum"))


# --- Publications -----------------------------------------------------------------


def publication(offset: int, previous: int, message: str | None = None) -> Publication:
    body = {"id": str(offset), "event": "e", "data": {}, "sent_at": "2026-01-01T00:00:00Z"}
    position = Position(epoch="epoch", offset=offset)
    return Publication("room:room", message or json.dumps(body), position, previous)


async def test_offsets_need_not_be_contiguous(room: Room) -> None:
    socket = TransportSocket()
    async with member_of(room, socket):
        assert room.deliver(publication(1000, 0))
        assert room.deliver(publication(1500, 1000))
        assert room.deliver(publication(1000, 0))  # again
        assert room.deliver(publication(1501, 1500))
        room.flush()
    assert [frame["offset"] for frame in socket.given] == [1000, 1500, 1501]


@pytest.mark.parametrize("previous", [20, 0], ids=["missed", "lost by the broker"])
async def test_a_publication_after_a_missing_one_is_not_delivered(
    room: Room, previous: int
) -> None:
    socket = TransportSocket()
    async with member_of(room, socket):
        assert room.deliver(publication(10, 0))
        assert not room.deliver(publication(30, previous))
        room.flush()
    assert room.position.offset == 10
    assert [frame["offset"] for frame in socket.given] == [10]


async def test_members_miss_nothing_where_nothing_was_published(room: Room) -> None:
    socket = TransportSocket()
    end = Position(epoch="epoch", offset=30)
    async with member_of(room, socket):
        room.deliver(publication(10, 0))
        assert room.fill(History(end, [publication(30, 20)], quiet_since=10))
        assert room.fill(History(Position(epoch="epoch", offset=50), (), quiet_since=30))
        room.deliver(publication(60, 50))
        assert not room.fill(History(Position(epoch="epoch", offset=90), (), quiet_since=61))
        assert not room.fill(History(Position(epoch="other", offset=99), (), quiet_since=0))
        room.flush()
    kinds = ["message", "message", "message", "resync", "resync"]
    assert [frame["type"] for frame in socket.given] == kinds


async def test_members_are_told_when_the_broker_lost_what_they_have(room: Room) -> None:
    socket = TransportSocket()
    async with member_of(room, socket):
        room.deliver(publication(10, 0))
        assert not room.fill(History(Position(epoch="epoch", offset=30), [publication(30, 0)]))
        room.flush()
    assert [frame["type"] for frame in socket.given] == ["message", "resync"]


@pytest.mark.parametrize(
    ("since", "missed"),
    [(0, None), (5, 2), (7, None), (10, 1), (20, 0), (25, None)],
    ids=["forgotten", "before all", "lost by the broker", "one", "all", "unknown"],
)
def test_what_came_after_a_position(room: Room, since: int, missed: int | None) -> None:
    chain = [publication(10, 5), publication(20, 10)]
    room.position = Position(epoch="epoch", offset=20)
    past = room.past(History(room.position, chain))
    frames = past.since(Position(epoch="epoch", offset=since))
    assert (None if frames is None else len(frames)) == missed
    assert past.since(Position(epoch="other", offset=since)) is None


@pytest.mark.parametrize(
    ("since", "missed"),
    [(2, None), (3, 2), (5, 2), (7, None), (10, 1), (20, 0), (28, 0), (30, 0), (31, None)],
)
def test_what_came_after_a_position_in_quiet_times(
    room: Room, since: int, missed: int | None
) -> None:
    room.position = Position(epoch="epoch", offset=20)
    chain = [publication(10, 5), publication(20, 10)]
    past = room.past(History(room.position, chain, quiet_since=3, quiet_until=30))
    frames = past.since(Position(epoch="epoch", offset=since))
    assert (None if frames is None else len(frames)) == missed


VALID = '{"id":"1","event":"e","data":{},"sent_at":"2026-01-01T00:00:00Z"'


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "{}",
        "[]",
        "null",
        VALID,
        VALID + "} ",
        " " + VALID + "}",
        VALID + ',"type":"error"}',
        VALID + ',"room":"other"}',
        VALID + ',"offset":7}',
        VALID + ',"sender":"bob"}',
        VALID + ',"sender":{"id":"b"}}',
        VALID + ',"sender":{"id":"b","name":"Bob","admin":true}}',
        VALID.replace("{}", "[]") + "}",
        VALID.replace("{}", '{"x":NaN}') + "}",
        VALID.replace("{}", '{"x":-Infinity}') + "}",
        VALID.replace("2026", "year") + "}",
        VALID.replace('"1"', "1") + "}",
    ],
)
async def test_a_malformed_publication_is_counted_and_skipped(room: Room, message: str) -> None:
    socket = TransportSocket()
    before = POISON._value.get()
    async with member_of(room, socket):
        assert room.deliver(publication(10, 0, message or "x"))
        assert room.deliver(publication(20, 10))
        room.flush()
    assert [frame["offset"] for frame in socket.given] == [20]
    assert POISON._value.get() == before + 1
