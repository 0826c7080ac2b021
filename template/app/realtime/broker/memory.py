"""Messages within one process. For development, tests and a single worker.

Guarantees: a publication reaches every subscriber, in order and once, while the process
lives. History is kept in the process and is lost with it, so each process has an epoch of
its own. Other processes receive nothing.
"""

import asyncio
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from broadcaster import Event

from app.realtime.broker.base import (
    Backend,
    BrokerUnavailable,
    History,
    IdTaken,
    Page,
    Publication,
    Record,
)
from app.realtime.protocol import Position

QUEUE_SIZE = 10_000
"""Messages that may wait for delivery. One more is refused with `BrokerUnavailable`."""


class Remembered(NamedTuple):
    """A publication in a channel's history."""

    id: str
    published_at: float
    publication: Publication


class Known(NamedTuple):
    """What an id in a channel's history stands for."""

    digest: str
    position: Position


class Channel:
    """The history of a channel, and where it stands."""

    def __init__(self, position: Position) -> None:
        self.position = position
        self.history: deque[Remembered] = deque()
        self.ids: dict[str, Known] = {}  # of everything in the history
        self.used_at = 0.0

    def forget(self, size: int, since: float) -> None:
        """Keep at most `size` publications, and none from before `since`."""
        while self.history and (len(self.history) > size or self.history[0].published_at < since):
            del self.ids[self.history.popleft().id]

    def newest(self) -> list[Publication]:
        """All remembered publications, newest first."""
        return [remembered.publication for remembered in reversed(self.history)]


class MemoryBackend(Backend):
    schemes = ("memory",)
    is_local = True

    def __init__(self, url: str, history_size: int, history_seconds: float) -> None:
        super().__init__(url, history_size, history_seconds)
        self._published: asyncio.Queue[Event] = asyncio.Queue(QUEUE_SIZE)
        self._subscribed: set[str] = set()
        self._channels: OrderedDict[str, Channel] = OrderedDict()  # least recently used first
        # Where channels begin. A channel that is forgotten and begins again must not give
        # an offset twice, so this moves beyond the offsets of forgotten channels.
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
        after: Sequence[Position] = (),
        seen: Position | None = None,  # noqa: ARG002 - this process never forgets what it saw
    ) -> History:
        known = self._look_up(channel)
        if known is None:
            return History(self._origin, ())
        newest = known.newest()
        oldest = newest[-1].previous if newest else known.position.offset
        wanted = [
            it.offset for it in after if it.epoch == known.position.epoch and it.offset >= oldest
        ]
        back_to = min(wanted, default=known.position.offset)
        answer = [
            publication
            for index, publication in enumerate(newest)
            if index < last or publication.position.offset > back_to
        ]
        return History(known.position, answer[::-1])

    async def page(self, channel: str, *, before: int | None, limit: int) -> Page:
        known = self._look_up(channel)
        if known is None:
            return Page(self._origin.epoch, (), complete=True)
        older = (it for it in known.newest() if before is None or it.position.offset < before)
        newest = list(islice(older, limit))
        complete = next(older, None) is None
        return Page(known.position.epoch, newest[::-1], complete)

    def submit(
        self,
        channel: str,
        message: str | Record,
        seen: Position | None = None,  # noqa: ARG002 - this process never forgets what it saw
    ) -> Position | None:
        if self._published.full():
            raise BrokerUnavailable("too many messages wait for delivery")
        if isinstance(message, str):
            if channel in self._subscribed:
                self._published.put_nowait(Event(channel, message))
            return None
        now = time.monotonic()
        known = self._channels.get(channel) or self._begin(channel)
        known.used_at = now
        self._channels.move_to_end(channel)
        known.forget(self.history_size, now - self.history_seconds)
        first = known.ids.get(message.id)
        if first is not None:
            if first.digest != message.digest:
                raise IdTaken(message.id)
            return first.position
        previous = known.position.offset
        known.position = Position(epoch=known.position.epoch, offset=previous + 1)
        publication = Publication(channel, message.message, known.position, previous)
        known.history.append(Remembered(message.id, now, publication))
        known.ids[message.id] = Known(message.digest, known.position)
        known.forget(self.history_size, now - self.history_seconds)
        if channel in self._subscribed:
            self._published.put_nowait(publication)
        return known.position

    def _look_up(self, channel: str) -> Channel | None:
        """A channel without what is too old; None if nothing is known of it."""
        self._forget_unused()
        known = self._channels.get(channel)
        if known is None:
            if channel not in self._subscribed:
                return None
            known = self._begin(channel)  # a subscriber has to know where the channel stands
        known.forget(self.history_size, time.monotonic() - self.history_seconds)
        return known

    def _begin(self, channel: str) -> Channel:
        known = self._channels[channel] = Channel(self._origin)
        known.used_at = time.monotonic()
        return known

    def _forget_unused(self) -> None:
        """Forget channels whose last publication is too old to be asked for."""
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
