"""One subscription a room, opened and closed under its lock."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import MutableMapping
from typing import Any

from broadcaster import Event

from app.realtime.identity import User
from app.realtime.broker import History, Publication, Record
from app.realtime.broker.memory import MemoryBackend
from app.realtime.connection import Connection
from app.realtime.manager import ConnectionManager
from app.realtime.protocol import Join, Pong, Position, Publish
from app.settings import Settings
from tests.support.client import until


class FakeSocket:
    """A socket without a network: what comes in is in `received`, what went out in `sent`."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.gone = False

    async def receive(self) -> dict[str, Any]:
        return await self.received.get()

    async def send(self, event: MutableMapping[str, Any]) -> None:
        if self.gone:
            raise OSError("the peer is gone")
        self.sent.append(json.loads(event["text"]))


class SlowBroker(MemoryBackend):
    """Takes a moment to subscribe, and notes what it was asked for."""

    def __init__(self) -> None:
        super().__init__("memory://", 1000, 3600)
        self.log: list[str] = []

    @property
    def subscribed(self) -> set[str]:
        """The channels that are subscribed, none of them twice."""
        channels = Counter(line[1:] for line in self.log if line.startswith("+"))
        channels.subtract(line[1:] for line in self.log if line.startswith("-"))
        assert set(channels.values()) <= {0, 1}
        return {channel for channel, count in channels.items() if count}

    async def subscribe(self, channel: str) -> None:
        await super().subscribe(channel)
        self.log.append(f"+{channel}")

    async def unsubscribe(self, channel: str) -> None:
        await super().unsubscribe(channel)
        self.log.append(f"-{channel}")

    async def history(
        self, channel: str, *, last: int, after: int | None, seen: Position | None
    ) -> History:
        await asyncio.sleep(0.01)
        return await super().history(channel, last=last, after=after, seen=seen)


def connection(name: str = "alice") -> Connection:
    return Connection(User(name=name), Settings(messages_per_second=0))


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


async def test_who_is_closed_while_leaving_leaves_every_room() -> None:
    socket = FakeSocket()
    manager = ConnectionManager(SlowBroker(), Settings())
    alice = connection()

    async def handle(_: object) -> None:
        alice.send(Pong())  # which fails, and ends the writer
        await asyncio.sleep(0.01)

    async with manager.running():
        for name in "abc":
            await manager.join(alice, Join(type="join", room=name))
        socket.gone = True
        for event in (
            {"type": "websocket.receive", "text": '{"type":"ping"}'},
            {"type": "websocket.receive", "bytes": b"\x00"},  # closed with 1003
            {"type": "websocket.disconnect"},
        ):
            socket.received.put_nowait(event)
        await alice.serve(socket.receive, socket.send, handle)
        await manager.disconnect(alice)
    assert not alice.rooms


class DeafBroker(MemoryBackend):
    """Takes every message, and drops those of rooms while it is deaf."""

    is_deaf = False

    async def next_published(self) -> Event:
        event = await super().next_published()
        while self.is_deaf and isinstance(event, Publication):
            event = await super().next_published()
        return event


async def test_whoever_joins_after_an_outage_lets_the_members_have_what_they_missed() -> None:
    broker = DeafBroker("memory://", 1000, 3600)
    manager = ConnectionManager(broker, Settings())
    socket, alice, bob = FakeSocket(), connection("alice"), connection("bob")
    join = Join(type="join", room="room")

    async def handle(_: object) -> None:
        """Nothing comes in."""

    async with manager.running(), asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(alice.serve(socket.receive, socket.send, handle))
        await manager.join(alice, join)
        broker.is_deaf = True
        for number in range(200):
            publish = Publish(type="publish", room="room", id=str(number), text="hello")
            await manager.publish(alice, publish)
        await manager.join(bob, join)
        await until(lambda: len(socket.sent) > 200 or socket.sent[-1]["type"] == "resync")
        serving.cancel()
    assert "resync" not in [frame["type"] for frame in socket.sent]
    offsets = [frame["offset"] for frame in socket.sent if frame["type"] == "message"]
    assert offsets == list(range(1, 201))


class Witness(MemoryBackend):
    """Notes what each publish says of the place that its worker has seen."""

    def __init__(self) -> None:
        super().__init__("memory://", 1000, 3600)
        self.seen: list[Position | None] = []

    def submit(self, channel: str, message: str | Record, seen: Position | None = None) -> None:
        if isinstance(message, Record):
            self.seen.append(seen)
        super().submit(channel, message, seen)


async def test_a_publish_says_what_its_worker_has_seen_of_the_room() -> None:
    broker = Witness()
    manager = ConnectionManager(broker, Settings())
    alice = connection()
    async with manager.running():
        await manager.join(alice, Join(type="join", room="room"))
        for number in range(3):
            publish = Publish(type="publish", room="room", id=str(number), text="hello")
            await manager.publish(alice, publish)
            await asyncio.sleep(0.05)  # it hears what it published
    assert [seen and seen.offset for seen in broker.seen] == [0, 1, 2]


class Member:
    """A user who comes to a room and goes, twice, and publishes there."""

    def __init__(self, manager: ConnectionManager, number: int) -> None:
        self._manager = manager
        self._random = random.Random(number)  # noqa: S311
        self._socket = FakeSocket()
        self.room = f"room-{number % 5}"
        self.connection = connection(f"user {number}")

    async def come_and_go(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._serve())
            for number in range(2):
                await self._manager.join(self.connection, Join(type="join", room=self.room))
                for _ in range(self._random.randrange(20)):
                    await asyncio.sleep(0)
                await self._publish(f"{id(self)} {number}")
                if self._random.random() < 0.8:
                    await self._manager.leave(self.connection, self.room)
            self._socket.received.put_nowait({"type": "websocket.disconnect"})

    async def _serve(self) -> None:
        async def handle(_: object) -> None:
            """Nothing comes in but the end."""

        await self.connection.serve(self._socket.receive, self._socket.send, handle)

    async def _publish(self, name: str) -> None:
        publish = Publish(type="publish", room=self.room, id=name, text="hello")
        await self._manager.publish(self.connection, publish)
        await until(lambda: any(frame.get("id") == name for frame in self._socket.sent))

    def check(self) -> None:
        """See that nothing is missing from the first message of the past, if any, on."""
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


async def test_five_hundred_come_and_go_while_others_publish() -> None:
    broker = SlowBroker()
    manager = ConnectionManager(broker, Settings())
    async with manager.running():
        members = [Member(manager, number) for number in range(500)]
        async with asyncio.TaskGroup() as tasks:
            for member in members:
                tasks.create_task(member.come_and_go())
        inside = {member.room for member in members if member.connection.rooms}
        assert inside
        assert broker.subscribed == {"presence", *(f"room:{room}" for room in inside)}
        for member in members:
            member.check()
            await manager.disconnect(member.connection)
        assert broker.subscribed == {"presence"}
