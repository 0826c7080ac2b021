"""Gaps that a worker notices: they are filled from history, or the members are told."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import pytest

from app.realtime.broker import BrokerUnavailable, History, Resubscribed
from app.realtime.broker.memory import Channel
from app.realtime.feed import CATCH_UP_AT_ONCE
from app.realtime.manager import ConnectionManager
from app.realtime.protocol import Join, Position
from app.realtime.rooms import RECENT
from tests.engine.doubles import AsgiSocket, DeafBroker, connection, publish, sending
from tests.engine.example.events import ChatMessage
from tests.engine.example.settings import Settings
from tests.support.client import until

HISTORY_SIZE = 200


class Forgetful(DeafBroker):
    """Can refuse to read history, and records how it was asked."""

    def __init__(self) -> None:
        super().__init__("memory://", HISTORY_SIZE, 3600)
        self.refuses = False
        self.takes_seconds = 0.0
        self.asked: list[int] = []
        self.answered: list[int] = []
        self.at_once = self.most_at_once = 0
        self.meanwhile: Callable[[], Awaitable[object]] | None = None
        """What happens once while an answer about the room is on its way."""

    async def history(
        self,
        channel: str,
        *,
        last: int,
        after: Sequence[Position] = (),
        seen: Position | None = None,
    ) -> History:
        self.asked.append(last)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.takes_seconds)
        self.at_once -= 1
        if self.refuses:
            raise BrokerUnavailable("history can't be read")
        history = await super().history(channel, last=last, after=after, seen=seen)
        self.answered.append(len(history.publications))
        if self.meanwhile is not None and channel == "room:room":
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return history

    def interrupt(self, room: str) -> None:
        """Report that publications may have been missed."""
        self._deliver(Resubscribed(f"room:{room}"))


def standing(manager: ConnectionManager) -> Position:
    """Where the room stands."""
    position = manager._rooms.position("room")
    assert position is not None
    return position


@pytest.mark.parametrize("history", ["there", "refused"])
@pytest.mark.parametrize("noticed", ["by the next message", "after an outage"])
async def test_a_gap_is_filled_or_the_members_are_told(
    monkeypatch: pytest.MonkeyPatch,
    noticed: Literal["by the next message", "after an outage"],
    history: Literal["there", "refused"],
) -> None:
    monkeypatch.setattr("app.realtime.feed.CATCH_UP_DEADLINE", 0.2)
    broker = Forgetful()
    manager = ConnectionManager(broker, Settings())
    socket, alice = AsgiSocket(), connection("alice")

    def heard() -> list[tuple[str, int]]:
        kinds = ("message", "resync")
        return [(one["type"], one["offset"]) for one in socket.sent if one["type"] in kinds]

    async with manager.running(), sending(alice, socket):
        await manager.join(alice, Join(type="join", room="room"))
        broker.is_deaf = True
        for number in range(1, 6):
            await manager.publish(alice, publish(number))
        broker.is_deaf, broker.refuses = False, history == "refused"
        if noticed == "after an outage":
            broker.interrupt("room")
        else:
            await manager.publish(alice, publish(6))
        missed = [("message", number) for number in range(1, 6)]
        if history == "there":
            await until(lambda: heard()[:5] == missed)
        else:
            # From before the next message, or from where the members are: they ask again.
            told = ("resync", 0 if noticed == "after an outage" else 5)
            await until(lambda: heard()[:1] == [told])
        if noticed == "by the next message":
            await until(lambda: heard()[-1:] == [("message", 6)])


async def test_many_rooms_do_not_all_ask_at_once() -> None:
    broker = Forgetful()
    manager = ConnectionManager(broker, Settings(max_rooms_per_connection=0, messages_per_second=0))
    alice = connection("alice")
    names = [f"room-{number}" for number in range(5 * CATCH_UP_AT_ONCE)]
    async with manager.running():
        for name in names:
            await manager.join(alice, Join(type="join", room=name))
        broker.asked.clear()
        broker.most_at_once = 0
        for name in names:
            broker.interrupt(name)
        await until(lambda: len(broker.asked) == len(names))
        assert 1 < broker.most_at_once <= CATCH_UP_AT_ONCE
        await manager.disconnect(alice)


@pytest.mark.parametrize("room_is_open", [True, False])
async def test_a_position_that_history_does_not_reach_reads_nothing_more(
    *, room_is_open: bool
) -> None:
    broker = Forgetful()
    manager = ConnectionManager(broker, Settings())
    alice, bob = connection("alice"), connection("bob")
    async with manager.running():
        await manager.join(alice, Join(type="join", room="room"))
        for number in range(1, 1001):
            await manager.publish(alice, publish(number))
        await until(lambda: standing(manager).offset == 1000)
        epoch = standing(manager).epoch
        if not room_is_open:
            await manager.leave(alice, "room")
        for since, most in [
            (Position(epoch="another", offset=900), RECENT),
            (Position(epoch=epoch, offset=0), RECENT),
            (Position(epoch=epoch, offset=1000 - HISTORY_SIZE), HISTORY_SIZE),
        ]:
            broker.answered.clear()
            await manager.join(bob, Join(type="join", room="room", since=since))
            assert broker.answered == [most]
            await manager.leave(bob, "room")
        await manager.disconnect(alice)


async def test_a_position_in_an_epoch_that_the_worker_did_not_know_is_found() -> None:
    broker = Forgetful()
    manager = ConnectionManager(broker, Settings())
    socket, alice, bob = AsgiSocket(), connection("alice"), connection("bob")
    async with manager.running(), sending(bob, socket):
        await manager.join(alice, Join(type="join", room="room"))
        for number in range(50):
            await manager.publish(alice, publish(number))
        await until(lambda: standing(manager).offset == 50)
        broker.is_deaf = True
        broker._channels["room:room"] = Channel("room:room", "new")
        for number in range(1, 101):
            await manager.publish(alice, publish(number))
        since = Position(epoch="new", offset=10)
        await manager.join(bob, Join(type="join", room="room", since=since))
        await until(lambda: len(socket.sent) > 90)
        await manager.disconnect(alice)
    joined, *messages = socket.sent
    assert (joined["epoch"], joined["offset"], joined["recovered"]) == ("new", 100, True)
    assert [message["offset"] for message in messages] == list(range(11, 101))


@pytest.mark.parametrize("room_is_open", [True, False])
async def test_what_is_published_while_history_is_on_its_way_reaches_who_joins(
    *, room_is_open: bool
) -> None:
    broker = Forgetful()
    manager = ConnectionManager(broker, Settings())
    socket, alice, bob = AsgiSocket(), connection("alice"), connection("bob")

    async def say_something() -> Position:
        return await manager.publisher.publish("room", ChatMessage(text="hello"))

    async with manager.running(), sending(bob, socket):
        since = await say_something()
        if room_is_open:
            await manager.join(alice, Join(type="join", room="room"))
        broker.meanwhile = say_something
        await manager.join(bob, Join(type="join", room="room", since=since))
        await say_something()
        await until(lambda: socket.sent[-1].get("offset") == 3)
        await manager.disconnect(alice)
        await manager.disconnect(bob)
    joined, *messages = socket.sent
    assert (joined["offset"], joined["recovered"]) == (2, True)
    assert [message["offset"] for message in messages] == [2, 3]


async def test_a_client_that_waits_is_admitted_though_the_one_before_it_is_gone() -> None:
    broker = Forgetful()
    broker.takes_seconds = 0.1
    manager = ConnectionManager(broker, Settings())
    alice, bob = connection("alice"), connection("bob")
    async with manager.running():
        asking = [
            asyncio.create_task(manager.join(one, Join(type="join", room="room")))
            for one in (alice, bob)
        ]
        await until(lambda: bool(broker.at_once))
        asking[0].cancel()
        await asyncio.wait(asking)
        assert list(bob.rooms) == ["room"]
        assert not alice.rooms
        await manager.disconnect(bob)
