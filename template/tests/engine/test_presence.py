"""Who is in a room: users, not tabs, and on any worker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Literal

import pytest_asyncio
from broadcaster import Broadcast

from app.realtime.broker import BrokerUnavailable, Record
from app.realtime.broker.memory import MemoryBackend
from app.realtime.presence import PresenceTracker
from app.realtime.protocol import Position, Presence
from tests.support.auth import sign_in
from tests.support.client import open_client, until
from tests.support.server import AppServer


async def test_members_see_who_comes_and_goes(server: AppServer) -> None:
    credentials = [await sign_in(server.url, name) for name in ("alice", "bob")]
    async with open_client(server.ws_url, credentials[0]) as alice:
        name = (await alice.expect("welcome"))["user"]
        assert (await alice.join("presence"))["members"] == [name]
        async with open_client(server.ws_url, credentials[1]) as bob:
            other = (await bob.expect("welcome"))["user"]
            assert (await bob.join("presence"))["members"] == sorted([name, other])
            await alice.expect("presence", room="presence", user=other, event="join")
        await alice.expect("presence", room="presence", user=other, event="leave")


async def test_who_joins_again_is_there_once(server: AppServer, room: str) -> None:
    credentials = [await sign_in(server.url, name) for name in ("alice", "bob")]
    async with (
        open_client(server.ws_url, credentials[0]) as alice,
        open_client(server.ws_url, credentials[1]) as bob,
    ):
        for _ in range(3):
            await alice.join(room)
        await alice.send(type="leave", room=room)
        await alice.expect("left")
        name = (await bob.expect("welcome"))["user"]
        assert (await bob.join(room))["members"] == [name]


class FlakyBackend(MemoryBackend):
    """A broker that can be out of reach."""

    is_away = False

    def submit(self, channel: str, message: str | Record, seen: Position | None = None) -> None:
        if self.is_away:
            raise BrokerUnavailable
        super().submit(channel, message, seen)


class Workers:
    """Presence on several workers, which share a broker."""

    def __init__(self) -> None:
        self.backend = FlakyBackend("memory://", history_size=0, history_seconds=0)
        self.broadcast = Broadcast(backend=self.backend)
        self.stack = AsyncExitStack()

    async def start(self, period: float = 0.1) -> tuple[PresenceTracker, list[Presence]]:
        """Presence on one more worker, and the list of what it notifies."""
        notified: list[Presence] = []
        tracker = PresenceTracker(self.broadcast, period, notified.append)
        await self.stack.enter_async_context(tracker.running())
        return tracker, notified


@pytest_asyncio.fixture
async def workers() -> AsyncIterator[Workers]:
    workers = Workers()
    async with workers.broadcast, workers.stack:
        yield workers


def event(user: str, event: Literal["join", "leave"]) -> Presence:
    return Presence(room="room", user=user, event=event)


async def test_tabs_of_a_user_count_once_on_any_worker(workers: Workers) -> None:
    (one, heard_by_one), (two, heard_by_two) = await workers.start(), await workers.start()
    one.join("room", "alice")
    one.join("room", "alice")
    await until(lambda: two.members("room") == ["alice"])
    two.join("room", "alice")
    two.join("room", "bob")
    await until(lambda: one.members("room") == ["alice", "bob"])
    one.leave("room", "alice")
    one.leave("room", "alice")
    two.leave("room", "bob")
    await until(lambda: one.members("room") == ["alice"])
    two.leave("room", "alice")
    await until(lambda: one.members("room") == [])
    expected = [event("alice", "join"), event("bob", "join")]
    expected += [event("bob", "leave"), event("alice", "leave")]
    assert heard_by_one == expected
    assert heard_by_two == expected


async def test_new_worker_learns_who_is_there_without_waiting(workers: Workers) -> None:
    one, _ = await workers.start(period=60)
    one.join("room", "alice")
    two, _ = await workers.start(period=60)
    await until(lambda: two.members("room") == ["alice"])


async def test_users_of_a_silent_worker_leave_once(workers: Workers) -> None:
    one, heard = await workers.start()
    silent, _ = await workers.start(period=60)
    silent.join("room", "alice")
    await until(lambda: one.members("room") == ["alice"])
    await until(lambda: one.members("room") == [])
    assert heard == [event("alice", "join"), event("alice", "leave")]


async def test_nobody_leaves_because_the_broker_is_silent(workers: Workers) -> None:
    one, heard = await workers.start(period=0.04)
    silent, _ = await workers.start(period=60)
    silent.join("room", "alice")
    await until(lambda: one.members("room") == ["alice"])
    workers.backend.is_away = True
    await asyncio.sleep(0.2)  # ten announcements missed
    assert heard == [event("alice", "join")]
    workers.backend.is_away = False
    await until(lambda: one.members("room") == [])


async def test_users_of_a_worker_that_ends_leave_at_once(workers: Workers) -> None:
    one, _ = await workers.start(period=60)
    two = PresenceTracker(workers.broadcast, 60, lambda _: None)
    async with two.running():
        two.join("room", "alice")
        await until(lambda: one.members("room") == ["alice"])
    await until(lambda: one.members("room") == [])


async def test_nobody_leaves_while_all_workers_are_heard(workers: Workers) -> None:
    one, heard = await workers.start(period=0.04)
    two, _ = await workers.start(period=0.042)  # so that their intervals drift past each other
    two.join("room", "alice")
    await until(lambda: one.members("room") == ["alice"])
    await asyncio.sleep(1)
    assert heard == [event("alice", "join")]
