"""Sockets and brokers without a network, for tests of single classes."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from broadcaster import Event
from fastapi import FastAPI
from starlette.datastructures import State

from app.realtime.actions import Action, Actions, May
from app.realtime.authentication import Authentication
from app.realtime.broker import History, Publication
from app.realtime.broker.memory import MemoryBackend
from app.realtime.connection import Connection
from app.realtime.events import Event as RoomEvent
from app.realtime.events import Events, Signal
from app.realtime.frames import Frames
from app.realtime.handlers import Handlers
from app.realtime.identity import User
from app.realtime.manager import ConnectionManager
from app.realtime.parser import ClientMessages
from app.realtime.protocol import Position, Publish
from app.realtime.server.asgi import AsgiWriter
from app.realtime.visit import Visits
from tests.engine.example.events import ChatMessage
from tests.engine.example.settings import Settings

MESSAGES = ClientMessages(Events([ChatMessage]))
"""What clients may send in these tests."""


def connection(name: str = "alice") -> Connection:
    """A connection of a user whose id is the name, without a rate limit."""
    return Connection(User(id=name, name=name), Settings(messages_per_second=0))


def publish(id: object, room: str = "room") -> Publish:  # noqa: A002
    """A client's message that publishes "hello"."""
    event = {"event": "chat.message", "data": {"text": "hello"}}
    message = MESSAGES.parse(json.dumps({"type": "publish", "room": room, "id": str(id), **event}))
    assert isinstance(message, Publish)
    return message


async def allow(
    _: User, __: Action, ___: str, ____: RoomEvent | Signal | None, _____: State
) -> bool:
    """The rule of an application where everybody may do everything."""
    return True


def visits_of(manager: ConnectionManager, settings: Settings, may: May = allow) -> Visits:
    """What opens sockets of a manager, without logins."""
    app = FastAPI()
    app.state.settings = settings
    app.state.authentication = Authentication(allow)
    return Visits(app, manager, MESSAGES, Actions(app, manager, Handlers(), may))


class AsgiSocket:
    """A socket as ASGI has it: frames to receive are in `received`, sent ones in `sent`."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.gone = False

    async def receive(self) -> dict[str, Any]:
        return await self.received.get()

    async def send(self, event: MutableMapping[str, Any]) -> None:
        if self.gone:
            raise OSError("the client is gone")
        self.sent.append(json.loads(event["text"]))


@asynccontextmanager
async def sending(connection: Connection, socket: AsgiSocket) -> AsyncIterator[None]:
    """Send what a connection sends by ASGI, for the length of the block."""
    writer = AsgiWriter(socket.send, None)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(writer.send_written())
        connection.start(writer)
        yield
        task.cancel()


class TransportSocket(asyncio.WriteTransport):
    """A transport and its writer, whose buffer is full after so many writes."""

    def __init__(self, takes: int = 1000) -> None:
        super().__init__()
        self.on_change: Callable[[], None] | None = None
        self.handler_is_running = False
        self.takes = takes
        self.given: list[dict[str, Any]] = []
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
        self.given += [json.loads(payload) for payload in Frames(bytes(data), 1).payloads]
        self.writes += 1
        self.takes -= 1
        if not self.takes:
            self._tell_change()

    def write_frames(self, frames: Frames) -> None:
        self.write(frames.wire)

    async def close_socket(self, code: int, reason: str) -> None:
        """Nobody waits for it."""

    def pause_reading(self) -> None:
        """Nothing is read here."""

    def resume_reading(self) -> None:
        """Nothing is read here."""

    def drain(self, takes: int = 1000) -> None:
        """Have the client read what is in the buffer."""
        self.takes = takes
        self._tell_change()

    def _tell_change(self) -> None:
        assert self.on_change is not None
        self.on_change()


class SlowBroker(MemoryBackend):
    """Takes a moment to read history, and records subscriptions."""

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

    async def _open(self, channel: str) -> None:
        await super()._open(channel)
        self.log.append(f"+{channel}")

    async def _close(self, channel: str) -> None:
        await super()._close(channel)
        self.log.append(f"-{channel}")

    async def history(
        self,
        channel: str,
        *,
        last: int,
        after: Sequence[Position] = (),
        seen: Position | None = None,
    ) -> History:
        await asyncio.sleep(0.01)
        return await super().history(channel, last=last, after=after, seen=seen)


class DeafBroker(MemoryBackend):
    """Takes every publication, but does not deliver any while it is deaf."""

    is_deaf = False

    def _deliver(self, event: Event) -> None:
        if not (self.is_deaf and isinstance(event, Publication)):
            super()._deliver(event)
