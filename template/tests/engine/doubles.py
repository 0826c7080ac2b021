"""Sockets and brokers without a network, for tests of single classes."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

from broadcaster import Event

from app.realtime.broker import History, Publication
from app.realtime.broker.memory import MemoryBackend
from app.realtime.connection import Connection
from app.realtime.events import Events
from app.realtime.frames import Frames
from app.realtime.identity import User
from app.realtime.parser import ClientMessages
from app.realtime.protocol import Position, Publish
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


async def ignore(_: object) -> None:
    """Handle a message by doing nothing."""


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

    async def subscribe(self, channel: str) -> None:
        await super().subscribe(channel)
        self.log.append(f"+{channel}")

    async def unsubscribe(self, channel: str) -> None:
        await super().unsubscribe(channel)
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

    async def next_published(self) -> Event:
        event = await super().next_published()
        while self.is_deaf and isinstance(event, Publication):
            event = await super().next_published()
        return event
