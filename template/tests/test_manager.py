"""One subscription a room, opened and closed under its lock."""

import asyncio
import json
from typing import Any

from fastapi import WebSocketDisconnect

from app.auth.identity import User
from app.broker import History
from app.broker.memory import MemoryBackend
from app.connection import Connection
from app.manager import ConnectionManager
from app.protocol import Join, Pong, Position
from app.settings import Settings


class FakeSocket:
    """A socket without a network: what comes in is in `received`, what went out in `sent`."""

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {"extensions": {}}
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
        super().__init__("memory://", 1000, 3600)
        self.log: list[str] = []

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
