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


ALICE, BOB = (User(id=name, name=name.title()) for name in ("alice", "bob"))


class FlakyBackend(MemoryBackend):
    """A broker that can be unreachable."""

    is_away = False

    def submit(
        self, channel: str, message: str | Record, seen: Position | None = None
    ) -> Position | None:
        if self.is_away:
            raise BrokerUnavailable
        return super().submit(channel, message, seen)


class Workers:
    """Presence on several workers that share a broker."""

    def __init__(self) -> None:
        self.backend = FlakyBackend("memory://", history_size=0, history_seconds=0)
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
    one.join("room", [ALICE])
    one.join("room", [ALICE])
    await until(lambda: users(two) == ["alice"])
    two.join("room", [ALICE])
    two.join("room", [BOB])
    await until(lambda: users(one) == ["alice", "bob"])
    one.leave("room", ALICE)
    one.leave("room", ALICE)
    two.leave("room", BOB)
    await until(lambda: users(one) == ["alice"])
    two.leave("room", ALICE)
    await until(lambda: users(one) == [])
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
    silent, _ = await workers.start(period=60)
    silent.join("room", [ALICE])
    await until(lambda: users(one) == ["alice"])
    await until(lambda: users(one) == [])
    assert heard == [event(ALICE, "join"), event(ALICE, "leave")]


async def test_nobody_leaves_because_the_broker_is_silent(workers: Workers) -> None:
    one, heard = await workers.start(period=0.04)
    silent, _ = await workers.start(period=60)
    silent.join("room", [ALICE])
    await until(lambda: users(one) == ["alice"])
    workers.backend.is_away = True
    await asyncio.sleep(0.2)  # ten announcements missed
    assert heard == [event(ALICE, "join")]
    workers.backend.is_away = False
    await until(lambda: users(one) == [])


async def test_users_of_a_worker_that_ends_leave_at_once(workers: Workers) -> None:
    one, _ = await workers.start(period=60)
    two = PresenceTracker(workers.broadcast, 60, 100, lambda _: None)
    async with two.running():
        two.join("room", [ALICE])
        await until(lambda: users(one) == ["alice"])
    await until(lambda: users(one) == [])


async def test_nobody_leaves_while_all_workers_are_heard(workers: Workers) -> None:
    one, heard = await workers.start(period=0.04)
    two, _ = await workers.start(period=0.042)  # so that their intervals drift past each other
    two.join("room", [ALICE])
    await until(lambda: users(one) == ["alice"])
    await asyncio.sleep(1)
    assert heard == [event(ALICE, "join")]


async def test_a_changed_name_is_shown_and_the_user_is_the_same(workers: Workers) -> None:
    (one, _), (two, heard) = await workers.start(), await workers.start()
    one.join("room", [ALICE])
    await until(lambda: users(two) == ["alice"])
    one.join("room", [User(id="alice", name="Alicia")])
    one.leave("room", ALICE)
    assert one.members("room") == [Member(id="alice", name="Alicia")]
    await until(lambda: two.members("room") == [Member(id="alice", name="Alicia")])
    assert heard == [event(ALICE, "join")]
