"""Who is in a room: users, not connections, on all workers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Literal

import pytest
import pytest_asyncio
from broadcaster import Broadcast

from app.realtime.broker import BrokerUnavailable, Record
from app.realtime.broker.memory import MemoryBackend
from app.realtime.identity import User
from app.realtime.presence import PresenceTracker
from app.realtime.presence.announcements import MAX_USERS
from app.realtime.protocol import Member, Position, Presence
from tests.support.auth import sign_in
from tests.support.client import JSON, Client, open_client, until
from tests.support.server import AppServer


def in_order(*clients: Client) -> list[JSON]:
    """The users of clients, in the order in which members are listed."""
    return sorted((client.user for client in clients), key=lambda it: (it["name"], it["id"]))


async def test_members_see_who_joins_and_leaves(server: AppServer, room: str) -> None:
    credentials = [await sign_in(server.url, name) for name in ("alice", "bob")]
    async with open_client(server.ws_url, credentials[0]) as alice:
        joined = await alice.join(room)
        assert (joined["count"], joined["members"]) == (1, [alice.user])
        async with open_client(server.ws_url, credentials[1]) as bob:
            joined = await bob.join(room)
            assert (joined["count"], joined["members"]) == (2, in_order(alice, bob))
            await alice.expect("presence", room=room, user=bob.user, event="join")
        await alice.expect("presence", room=room, user=bob.user, event="leave")


async def test_a_user_who_joins_again_is_there_once(server: AppServer, room: str) -> None:
    credentials = [await sign_in(server.url, name) for name in ("alice", "bob")]
    async with (
        open_client(server.ws_url, credentials[0]) as alice,
        open_client(server.ws_url, credentials[1]) as bob,
    ):
        for _ in range(3):
            await alice.join(room)
        await alice.send(type="leave", room=room)
        await alice.expect("left")
        assert (await bob.join(room))["members"] == [bob.user]


async def test_the_room_of_a_user_has_no_presence(server: AppServer) -> None:
    credentials = await sign_in(server.url, "alice")
    async with (
        open_client(server.ws_url, credentials) as first,
        open_client(server.ws_url, credentials) as second,
    ):
        for client in (first, second):
            joined = await client.join("@me")
            assert (joined["count"], joined["members"]) == (1, [client.user])
        await second.send(type="leave", room="@me")
        await second.expect("left", room="@me")
        assert "presence" not in {frame["type"] for frame in await first.on_the_way()}


ALICE, BOB, CAROL = (User(id=name, name=name.title()) for name in ("alice", "bob", "carol"))


class FlakyBackend(MemoryBackend):
    """A broker that can be unreachable, or lose what it took."""

    is_away = False
    is_mute = False

    def __init__(self) -> None:
        super().__init__("memory://", history_size=0, history_seconds=0)
        self.sizes: list[int] = []
        """Bytes of each message."""

    def submit(
        self, channel: str, message: str | Record, seen: Position | None = None
    ) -> Position | None:
        if self.is_away:
            raise BrokerUnavailable
        if self.is_mute:
            return None
        self.sizes.append(len(str(message)))
        return super().submit(channel, message, seen)


class Workers:
    """Presence on several workers that share a broker."""

    def __init__(self) -> None:
        self.backend = FlakyBackend()
        self.broadcast = Broadcast(backend=self.backend)
        self.stack = AsyncExitStack()

    async def start(
        self, period: float = 0.1, most: int = 100
    ) -> tuple[PresenceTracker, list[Presence]]:
        """Presence on one more worker, and the list of its notifications."""
        notified: list[Presence] = []
        tracker = PresenceTracker(self.broadcast, period, most, notified.append)
        await self.stack.enter_async_context(tracker.running())
        return tracker, notified


@pytest_asyncio.fixture
async def workers(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Workers]:
    """Workers that tell changes without a pause."""
    monkeypatch.setattr("app.realtime.presence.news.PAUSE", 0)
    monkeypatch.setattr("app.realtime.presence.tracker.GATHER", 0)
    workers = Workers()
    async with workers.broadcast, workers.stack:
        yield workers


def event(user: User, event: Literal["join", "leave"]) -> Presence:
    return Presence(room="room", user=Member.of(user), event=event)


def users(tracker: PresenceTracker) -> list[str]:
    """The ids of the users in the room."""
    return [member.id for member in tracker.members("room")]


async def test_connections_of_a_user_count_once_on_any_worker(workers: Workers) -> None:
    (one, heard_by_one), (two, heard_by_two) = await workers.start(), await workers.start()
    for tracker in (one, two):  # a room is told of others as long as somebody is in it
        tracker.join("room", [CAROL])
    one.join("room", [ALICE])
    one.join("room", [ALICE])
    await until(lambda: users(two) == ["alice", "carol"])
    two.join("room", [ALICE, BOB])
    await until(lambda: users(one) == ["alice", "bob", "carol"])
    one.leave("room", ALICE)
    one.leave("room", ALICE)
    two.leave("room", BOB)
    await until(lambda: users(one) == ["alice", "carol"])
    two.leave("room", ALICE)
    await until(lambda: users(one) == ["carol"])
    expected = [event(ALICE, "join"), event(BOB, "join")]
    expected += [event(BOB, "leave"), event(ALICE, "leave")]
    assert heard_by_one == expected
    assert heard_by_two == expected


async def test_a_new_worker_learns_at_once_who_is_there(workers: Workers) -> None:
    one, _ = await workers.start(period=60)
    one.join("room", [ALICE])
    two, _ = await workers.start(period=60)
    await until(lambda: users(two) == ["alice"])


async def test_users_of_a_silent_worker_leave_once(workers: Workers) -> None:
    one, heard = await workers.start()
    one.join("room", [CAROL])
    silent, _ = await workers.start(period=60)
    silent.join("room", [ALICE])
    await until(lambda: users(one) == ["alice", "carol"])
    await until(lambda: users(one) == ["carol"])
    assert heard == [event(ALICE, "join"), event(ALICE, "leave")]


class Busy(PresenceTracker):
    """A worker that states its users late, every second time."""

    is_late = False

    async def _state_all(self, *, is_new: bool) -> None:
        self.is_late = not self.is_late
        if self.is_late:
            await super()._state_all(is_new=is_new)


async def test_a_busy_worker_notices_that_another_one_is_silent(workers: Workers) -> None:
    one = Busy(workers.broadcast, 0.1, 100, lambda _: None)
    silent, _ = await workers.start(period=60)
    silent.join("room", [ALICE])
    async with one.running():
        await until(lambda: users(one) == ["alice"])
        await until(lambda: users(one) == [])


async def test_nobody_leaves_because_the_broker_is_silent(workers: Workers) -> None:
    one, heard = await workers.start(period=0.2)
    one.join("room", [CAROL])
    silent, _ = await workers.start(period=60)
    silent.join("room", [ALICE])
    await until(lambda: users(one) == ["alice", "carol"])
    workers.backend.is_away = True
    await asyncio.sleep(0.6)  # six announcements missed
    assert heard == [event(ALICE, "join")]
    workers.backend.is_away = False
    await until(lambda: users(one) == ["carol"])


async def test_what_could_not_be_announced_is_stated_later(workers: Workers) -> None:
    one, _ = await workers.start(period=60)
    two, _ = await workers.start(period=0.2)
    two.join("room", [ALICE])
    await until(lambda: users(one) == ["alice"])
    workers.backend.is_away = True
    two.leave("room", ALICE)
    two.join("room", [BOB])
    await asyncio.sleep(0.05)
    assert users(one) == ["alice"]
    workers.backend.is_away = False
    await until(lambda: users(one) == ["bob"])


async def test_users_of_a_worker_that_ends_leave_at_once(workers: Workers) -> None:
    one, _ = await workers.start(period=60)
    two = PresenceTracker(workers.broadcast, 60, 100, lambda _: None)
    async with two.running():
        two.join("room", [ALICE])
        await until(lambda: users(one) == ["alice"])
    await until(lambda: users(one) == [])


async def test_nobody_leaves_while_all_workers_are_heard(workers: Workers) -> None:
    one, heard = await workers.start(period=0.04)
    one.join("room", [CAROL])
    two, _ = await workers.start(period=0.042)  # so that their intervals drift past each other
    two.join("room", [ALICE])
    await until(lambda: users(one) == ["alice", "carol"])
    await asyncio.sleep(1)
    assert heard == [event(ALICE, "join")]


async def test_a_changed_name_is_told_and_the_user_is_the_same(workers: Workers) -> None:
    (one, _), (two, heard) = await workers.start(), await workers.start()
    two.join("room", [CAROL])
    one.join("room", [ALICE])
    await until(lambda: users(two) == ["alice", "carol"])
    renamed = User(id="alice", name="Alicia")
    one.join("room", [renamed])
    one.leave("room", ALICE)
    assert one.members("room") == [Member(id="alice", name="Alicia"), Member.of(CAROL)]
    await until(lambda: two.members("room") == one.members("room"))
    assert heard == [event(ALICE, "join"), event(renamed, "join")]


# --- What it costs ----------------------------------------------------------------


def crowd(count: int) -> list[User]:
    return [User(id=f"{number:05}", name=f"person {number:05}") for number in range(count)]


async def test_who_enters_in_the_same_moment_is_told_in_one_message(workers: Workers) -> None:
    one, heard = await workers.start()
    one.join("room", [ALICE])
    one.join("room", crowd(20))
    (told,) = heard
    assert told.event == "join"
    assert told.users == [Member.of(user) for user in crowd(20)]
    two, _ = await workers.start()
    two.join("room", crowd(40))
    await until(lambda: len(heard) == 2)
    assert heard[1].users == [Member.of(user) for user in crowd(40)[20:]]


async def test_who_comes_and_goes_is_told_at_most_once_a_second(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.realtime.presence.news.PAUSE", 0.3)
    one, heard = await workers.start()
    one.join("room", [ALICE])
    for _ in range(50):
        one.join("room", [BOB])
        await asyncio.sleep(0)
        one.leave("room", BOB)
    assert heard == [event(BOB, "join")]
    await until(lambda: len(heard) == 2)
    for _ in range(50):
        one.join("room", [BOB])
        one.leave("room", BOB)
    await asyncio.sleep(0.5)
    assert heard == [event(BOB, "join"), event(BOB, "leave")]  # nothing has changed since


async def test_a_large_room_is_told_counts_until_it_is_small_again(workers: Workers) -> None:
    one, heard = await workers.start(most=8)
    people = crowd(10)
    one.join("room", people[:8])
    assert one.shown("room") == [Member.of(user) for user in people[:8]]
    one.join("room", people[8:9])
    one.join("room", people[9:])
    assert [(told.count, told.user, told.members) for told in heard] == [
        (9, None, None),
        (10, None, None),
    ]
    assert one.shown("room") is None
    assert one.count("room") == len(one.members("room")) == 10
    heard.clear()
    for person in people[:3]:
        one.leave("room", person)
    assert [told.count for told in heard] == [9, 8, 7]  # who knows no names needs a margin
    assert one.shown("room") is None
    one.leave("room", people[3])
    assert heard[-1].count == 6
    assert heard[-1].members == one.shown("room") == [Member.of(user) for user in people[4:]]
    one.join("room", people[:1])
    assert heard[-1] == event(people[0], "join")


async def test_what_a_worker_announces_is_bounded_and_arrives_completely(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.realtime.presence.tracker.STATE_EVERY", 0.001)
    one, _ = await workers.start(period=60)
    users = crowd(3000)
    one.join("room", users)
    for number, user in enumerate(users[:1000]):
        one.join(f"room {number}", [user])
    await until(lambda: not one._changes)
    two, _ = await workers.start(period=60)  # it asks for everything
    await until(lambda: two.count("room") == 3000)
    await until(lambda: all(two.count(f"room {number}") == 1 for number in range(1000)))
    for user in users[:-1]:
        one.leave("room", user)
    await until(lambda: two.count("room") == 1)
    assert max(workers.backend.sizes) < 20_000
    assert len(workers.backend.sizes) > 2 * 4000 / MAX_USERS


async def test_statements_correct_what_a_worker_missed(workers: Workers) -> None:
    one, _ = await workers.start(period=60)
    two, _ = await workers.start(period=60)
    one.join("room", crowd(500))
    one.join("lobby", [ALICE])
    await until(lambda: two.count("room") == 500)
    workers.backend.is_mute = True
    for user in crowd(500)[::2]:
        one.leave("room", user)
    one.leave("lobby", ALICE)
    one.join("lobby", [BOB])
    await until(lambda: not one._changes)
    workers.backend.is_mute = False
    assert two.count("room") == 500
    one._is_asked.set()
    await until(lambda: two.count("room") == 250)
    await until(lambda: two.members("lobby") == [Member.of(BOB)])
