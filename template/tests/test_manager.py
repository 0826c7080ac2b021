"""One subscription a room, opened and closed under its lock."""

import asyncio
import json
from typing import Any

from fastapi import WebSocketDisconnect

from app.auth.identity import User
from app.broker import Publication
from app.broker.memory import MemoryBackend
from app.connection import Connection
from app.manager import ConnectionManager
from app.protocol import Join, Pong, Position
from app.settings import Settings
from tests.client import until


class FakeSocket:
    """A socket without a network: what comes in is in `received`, what went out in `sent`."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.gone = False

    async def receive(self) -> dict[str, Any]:
        return await self.received.get()

    async def send_text(self, text: str) -> None:
        if self.gone:
            raise WebSocketDisconnect(1006)
        self.sent.append(json.loads(text))


class SlowBroker(MemoryBackend):
    """Takes a moment to subscribe, and notes what it was asked for."""

    def __init__(self) -> None:
        super().__init__("memory://")
        self.log: list[str] = []

    async def subscribe(self, channel: str) -> None:
        await super().subscribe(channel)
        self.log.append(f"+{channel}")

    async def unsubscribe(self, channel: str) -> None:
        await super().unsubscribe(channel)
        self.log.append(f"-{channel}")

    async def position(self, channel: str) -> Position:
        await asyncio.sleep(0.01)
        return await super().position(channel)

    async def deliver(self, channel: str, offset: int) -> None:
        """As if published elsewhere, with this offset."""
        body = {"id": "1", "sender": "s", "text": "t", "sent_at": "2026-01-01T00:00:00Z"}
        position = Position(epoch=self._positions[channel].epoch, offset=offset)
        await self._published.put(Publication(channel, json.dumps(body), position))


def connection(socket: FakeSocket, name: str = "alice") -> Connection:
    return Connection(socket, User(name=name), Settings())  # type: ignore[arg-type]


async def test_a_room_has_one_subscription_which_ends_with_its_last_member() -> None:
    broker = SlowBroker()
    manager = ConnectionManager(broker, Settings())
    members = [connection(FakeSocket()) for _ in range(3)]
    join = Join(type="join", room="room")
    async with manager.running():
        await asyncio.gather(*(manager.join(member, join) for member in members))
        await asyncio.gather(*(manager.disconnect(member) for member in members))
        log = [line for line in broker.log if "room:" in line]
    assert log == ["+room:room", "-room:room"]


async def test_what_was_published_before_joined_does_not_follow_it() -> None:
    broker, socket = SlowBroker(), FakeSocket()
    manager = ConnectionManager(broker, Settings())
    alice = connection(socket)
    async with manager.running():
        serving = asyncio.create_task(alice.serve(lambda _: asyncio.sleep(0)))
        await manager.join(alice, Join(type="join", room="room"))
        for offset in (0, 1, 2):
            await broker.deliver("room:room", offset)
        await until(lambda: any(message.get("offset") == 2 for message in socket.sent))
        socket.received.put_nowait({"type": "websocket.disconnect"})
        await serving
        await manager.disconnect(alice)
    assert [m["offset"] for m in socket.sent if m["type"] in ("joined", "message")] == [0, 1, 2]


async def test_who_is_closed_while_leaving_leaves_every_room() -> None:
    socket = FakeSocket()
    manager = ConnectionManager(SlowBroker(), Settings())
    alice = connection(socket)

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
        await alice.serve(handle)
        await manager.disconnect(alice)
    assert not alice.rooms
