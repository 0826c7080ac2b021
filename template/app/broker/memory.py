"""Messages within one process. For development, tests and a single worker.

Guarantees: a publication reaches every subscriber, in order, once, while the process
lives. History is kept in the process and forgotten with it. Other processes hear
nothing.
"""

import asyncio
import secrets
import time
from collections import OrderedDict, deque
from typing import NamedTuple

from broadcaster import Event

from app.broker.base import Backend, BrokerUnavailable, History, IdTaken, Publication, Record
from app.protocol import Position

QUEUE_SIZE = 10_000
"""Publications that may wait to be distributed before `publish` refuses."""


class Remembered(NamedTuple):
    """A publication in a channel's history."""

    id: str
    published_at: float
    publication: Publication


class Channel:
    """What happened on a channel."""

    def __init__(self, position: Position) -> None:
        self.position = position
        self.history: deque[Remembered] = deque()
        self.digests: dict[str, str] = {}  # by id, of everything in the history
        self.used_at = 0.0

    def forget(self, size: int, since: float) -> None:
        """Keep at most `size` publications, and none from before `since`."""
        while self.history and (len(self.history) > size or self.history[0].published_at < since):
            del self.digests[self.history.popleft().id]


class MemoryBackend(Backend):
    schemes = ("memory",)

    def __init__(self, url: str, history_size: int, history_seconds: float) -> None:
        super().__init__(url, history_size, history_seconds)
        self._published: asyncio.Queue[Event] = asyncio.Queue(QUEUE_SIZE)
        self._subscribed: set[str] = set()
        self._channels: OrderedDict[str, Channel] = OrderedDict()  # by last use
        # A channel that was forgotten and begins anew gets no offset twice.
        self._origin = Position(epoch=secrets.token_hex(8), offset=0)

    @property
    def alive(self) -> bool:
        return True

    async def connect(self) -> None:
        """Nothing to connect to."""

    async def disconnect(self) -> None:
        """Nothing to disconnect from."""

    async def subscribe(self, channel: str) -> None:
        self._subscribed.add(channel)

    async def unsubscribe(self, channel: str) -> None:
        self._subscribed.discard(channel)

    async def history(
        self,
        channel: str,
        *,
        last: int,
        after: int | None,
        seen: Position | None,  # noqa: ARG002 - what was seen here is known here
    ) -> History:
        self._forget_unused()
        known = self._channels.get(channel)
        if known is None and channel not in self._subscribed:
            return History(self._origin, ())
        known = known or self._begin(channel)  # whoever listens has to know where it stands
        known.forget(self.history_size, time.monotonic() - self.history_seconds)
        wanted = last
        if after is not None:
            wanted = max(wanted, known.position.offset - after)
        skipped = max(0, len(known.history) - wanted)
        publications = [remembered.publication for remembered in known.history]
        return History(known.position, publications[skipped:])

    def submit(
        self,
        channel: str,
        message: str | Record,
        seen: Position | None = None,  # noqa: ARG002 - what was seen here is known here
    ) -> None:
        if self._published.full():
            raise BrokerUnavailable("too many publications wait to be distributed")
        if isinstance(message, str):
            event = Event(channel, message)
        else:
            publication = self._append(channel, message)
            if publication is None:
                return
            event = publication
        if channel in self._subscribed:
            self._published.put_nowait(event)

    def _append(self, channel: str, record: Record) -> Publication | None:
        """Give a record its place, or none if it has one already."""
        now = time.monotonic()
        known = self._channels.get(channel) or self._begin(channel)
        known.used_at = now
        self._channels.move_to_end(channel)
        known.forget(self.history_size, now - self.history_seconds)
        if record.id in known.digests:
            if known.digests[record.id] != record.digest:
                raise IdTaken(record.id)
            return None
        known.position = Position(epoch=known.position.epoch, offset=known.position.offset + 1)
        publication = Publication(channel, record.message, known.position)
        known.history.append(Remembered(record.id, now, publication))
        known.digests[record.id] = record.digest
        known.forget(self.history_size, now - self.history_seconds)
        return publication

    def _begin(self, channel: str) -> Channel:
        known = self._channels[channel] = Channel(self._origin)
        known.used_at = time.monotonic()
        return known

    def _forget_unused(self) -> None:
        """Forget channels whose last publication nobody can ask for any more."""
        long_ago = time.monotonic() - self.history_seconds
        while self._channels:
            channel, known = next(iter(self._channels.items()))
            if known.used_at >= long_ago:
                return
            if channel in self._subscribed:
                known.used_at = time.monotonic()
                self._channels.move_to_end(channel)
            else:
                del self._channels[channel]
                if known.position.offset > self._origin.offset:
                    self._origin = known.position

    async def next_published(self) -> Event:
        return await self._published.get()
