"""One subscription for each room, opened and closed under the room's lock."""

import asyncio
import random

from app.realtime.broker import Record
from app.realtime.broker.memory import MemoryBackend
from app.realtime.manager import ConnectionManager
from app.realtime.protocol import CloseCode, Join, Pong, Position
from tests.engine.doubles import (
    AsgiSocket,
    DeafBroker,
    SlowBroker,
    connection,
    publish,
    sending,
)
from tests.engine.example.settings import Settings
from tests.support.client import until

ALWAYS = {"commands", "presence"}
"""The channels that a worker subscribes to without any room."""


async def test_a_room_has_one_subscription_which_ends_with_its_last_member() -> None:
    broker = SlowBroker()
    manager = ConnectionManager(broker, Settings())
    members = [connection() for _ in range(3)]
    join = Join(type="join", room="room")
    async with manager.running():
        await asyncio.gather(*(manager.join(member, join) for member in members))
        await asyncio.gather(*(manager.disconnect(member) for member in members))
        log = [line for line in broker.log if "room:" in line]
    assert log == ["+room:room", "-room:room"]


async def test_a_client_that_is_closed_while_leaving_leaves_every_room() -> None:
    socket = AsgiSocket()
    manager = ConnectionManager(SlowBroker(), Settings())
    alice = connection()

    async with manager.running(), sending(alice, socket):
        for name in "abc":
            await manager.join(alice, Join(type="join", room=name))
        socket.gone = True
        alice.send(Pong())  # which fails, and ends the writer
        await asyncio.sleep(0.01)
        alice.close(CloseCode.UNSUPPORTED_DATA, "text frames only")
        await manager.disconnect(alice)
    assert not alice.rooms


async def test_a_join_after_an_outage_brings_the_members_what_they_missed() -> None:
    broker = DeafBroker("memory://", 1000, 3600)
    manager = ConnectionManager(broker, Settings())
    socket, alice, bob = AsgiSocket(), connection("alice"), connection("bob")
    join = Join(type="join", room="room")

    async with manager.running(), sending(alice, socket):
        await manager.join(alice, join)
        broker.is_deaf = True
        for number in range(200):
            await manager.publish(alice, publish(number))
        await manager.join(bob, join)
        await until(lambda: len(socket.sent) > 200 or socket.sent[-1]["type"] == "resync")
    assert "resync" not in [frame["type"] for frame in socket.sent]
    offsets = [frame["offset"] for frame in socket.sent if frame["type"] == "message"]
    assert offsets == list(range(1, 201))


class Witness(MemoryBackend):
    """Records which position each publish says that its worker has seen."""

    def __init__(self) -> None:
        super().__init__("memory://", 1000, 3600)
        self.seen: list[Position | None] = []

    def submit(
        self, channel: str, message: str | Record, seen: Position | None = None
    ) -> Position | None:
        if isinstance(message, Record):
            self.seen.append(seen)
        return super().submit(channel, message, seen)


async def test_a_publish_says_what_its_worker_has_seen_of_the_room() -> None:
    broker = Witness()
    manager = ConnectionManager(broker, Settings())
    alice = connection()
    async with manager.running():
        await manager.join(alice, Join(type="join", room="room"))
        for number in range(3):
            await manager.publish(alice, publish(number))
            await asyncio.sleep(0.05)  # it receives what it published
    assert [seen and seen.offset for seen in broker.seen] == [0, 1, 2]


class Member:
    """A user who joins a room and leaves it, twice, and publishes there."""

    def __init__(self, manager: ConnectionManager, number: int) -> None:
        self._manager = manager
        self._random = random.Random(number)  # noqa: S311
        self._socket = AsgiSocket()
        self.room = f"room-{number % 5}"
        self.connection = connection(f"user {number}")

    async def join_and_leave(self) -> None:
        async with sending(self.connection, self._socket):
            for number in range(2):
                await self._manager.join(self.connection, Join(type="join", room=self.room))
                for _ in range(self._random.randrange(20)):
                    await asyncio.sleep(0)
                await self._publish(f"{id(self)} {number}")
                if self._random.random() < 0.8:
                    await self._manager.leave(self.connection, self.room)

    async def _publish(self, name: str) -> None:
        await self._manager.publish(self.connection, publish(name, self.room))
        await until(lambda: any(frame.get("id") == name for frame in self._socket.sent))

    def check(self) -> None:
        """Check that nothing is missing after the first message from history, if there is one.

        The memory broker counts the messages of a room.
        """
        before: int | None = None
        joined_at = 0
        for frame in self._socket.sent:
            if frame["type"] == "joined":
                joined_at, before = frame["offset"], None
            elif frame["type"] == "message":
                if before is None:
                    assert frame["offset"] <= joined_at + 1
                else:
                    assert frame["offset"] == before + 1
                before = frame["offset"]


async def test_five_hundred_join_and_leave_while_others_publish() -> None:
    broker = SlowBroker()
    manager = ConnectionManager(broker, Settings())
    async with manager.running():
        members = [Member(manager, number) for number in range(500)]
        async with asyncio.TaskGroup() as tasks:
            for member in members:
                tasks.create_task(member.join_and_leave())
        inside = {member.room for member in members if member.connection.rooms}
        assert inside
        assert broker.subscribed == {*ALWAYS, *(f"room:{room}" for room in inside)}
        for member in members:
            member.check()
            await manager.disconnect(member.connection)
        assert broker.subscribed == ALWAYS
