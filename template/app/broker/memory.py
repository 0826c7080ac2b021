"""Messages within one process. For development, tests and a single worker.

Guarantees: a publication reaches every subscriber, in order, once, while the
process lives. It keeps nothing, and other processes hear nothing.
"""

import asyncio
import secrets

from app.broker.base import Backend, BrokerUnavailable, Publication
from app.protocol import Position

QUEUE_SIZE = 10_000
"""Publications that may wait to be distributed before `publish` refuses."""


class MemoryBackend(Backend):
    schemes = ("memory",)

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._published: asyncio.Queue[Publication] = asyncio.Queue(QUEUE_SIZE)
        self._positions: dict[str, Position] = {}

    @property
    def alive(self) -> bool:
        return True

    async def connect(self) -> None:
        """Nothing to connect to."""

    async def disconnect(self) -> None:
        """Nothing to disconnect from."""

    async def subscribe(self, channel: str) -> None:
        self._positions[channel] = Position(epoch=secrets.token_hex(8), offset=0)

    async def unsubscribe(self, channel: str) -> None:
        self._positions.pop(channel, None)

    async def position(self, channel: str) -> Position:
        return self._positions[channel]

    async def publish(self, channel: str, message: str) -> None:
        before = self._positions.get(channel)
        if before is None:
            return  # nobody is subscribed
        if self._published.full():
            raise BrokerUnavailable("too many publications wait to be distributed")
        position = Position(epoch=before.epoch, offset=before.offset + 1)
        self._positions[channel] = position
        self._published.put_nowait(Publication(channel, message, position))

    async def next_published(self) -> Publication:
        return await self._published.get()
