"""Messages within one process. For development, tests and a single worker.

Guarantees: a publication reaches every subscriber, in order and once, while the process
lives. History is kept in the process and is lost with it. Other processes receive nothing.

What all channels remember together is bounded by `history_bytes`: the channels used longest
ago are forgotten first, and then the oldest records of the channel in use. A channel
without publications takes memory only while somebody listens to it.

All channels that begin at the same time share an epoch. When a channel is forgotten that
had publications in that epoch, channels that begin later get a new one. So nobody takes
what is forgotten for received.
"""

import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from broadcaster import Event

from app.realtime.broker.base import Backend, History, IdTaken, Page, Publication, Record
from app.realtime.protocol import Position

RECORD_BYTES = 1000
"""What a record takes beside its message, with its share of the channel, measured."""


class Remembered(NamedTuple):
    """A publication in a channel's history."""

    id: str
    published_at: float
    publication: Publication

    @property
    def size(self) -> int:
        """About how many bytes it takes: a character of text may take one to four."""
        return RECORD_BYTES + len(self.publication.message)


class Known(NamedTuple):
    """What an id in a channel's history stands for."""

    digest: str
    position: Position


class Channel:
    """The history of a channel, and where it stands."""

    def __init__(self, epoch: str) -> None:
        self.position = Position(epoch=epoch, offset=0)
        self.history: deque[Remembered] = deque()
        self.ids: dict[str, Known] = {}  # of everything in the history
        self.size = 0
        """Bytes of the history."""
        self.used_at = time.monotonic()

    def add(self, remembered: Remembered, digest: str) -> None:
        """Remember a publication, and move to its position."""
        self.position = remembered.publication.position
        self.history.append(remembered)
        self.ids[remembered.id] = Known(digest, self.position)
        self.size += remembered.size

    def forget_oldest(self) -> None:
        """Forget a publication."""
        oldest = self.history.popleft()
        del self.ids[oldest.id]
        self.size -= oldest.size

    def newest(self) -> list[Publication]:
        """All remembered publications, newest first."""
        return [remembered.publication for remembered in reversed(self.history)]


class MemoryBackend(Backend):
    schemes = ("memory",)
    is_local = True

    def __init__(
        self, url: str, history_size: int, history_seconds: float, history_bytes: int = 0
    ) -> None:
        super().__init__(url, history_size, history_seconds, history_bytes)
        self._channels: dict[str, Channel] = {}
        """Those that somebody listens to, and those with a history."""
        self._with_history: OrderedDict[str, Channel] = OrderedDict()
        """The channel that was used longest ago comes first."""
        self._epoch = secrets.token_hex(8)
        """The epoch of channels that begin now."""
        self._size = 0
        """Bytes of all histories."""

    @property
    def alive(self) -> bool:
        return True

    async def connect(self) -> None:
        """Nothing to connect to."""

    async def disconnect(self) -> None:
        """Nothing to disconnect from."""

    async def _open(self, channel: str) -> None:
        """Nothing to open."""

    async def _close(self, channel: str) -> None:
        if channel in self._channels:
            self._tidy(channel, self._channels[channel])

    async def history(
        self,
        channel: str,
        *,
        last: int,
        after: Sequence[Position] = (),
        seen: Position | None = None,  # noqa: ARG002 - this process knows what it has seen
    ) -> History:
        known = self._look_up(channel)
        if known is None:
            return History(Position(epoch=self._epoch, offset=0), ())
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
            return Page(self._epoch, (), complete=True)
        older = (it for it in known.newest() if before is None or it.position.offset < before)
        newest = list(islice(older, limit))
        complete = next(older, None) is None
        return Page(known.position.epoch, newest[::-1], complete)

    def submit(
        self,
        channel: str,
        message: str | Record,
        seen: Position | None = None,  # noqa: ARG002 - this process knows what it has seen
    ) -> Position | None:
        if isinstance(message, str):
            self._deliver(Event(channel, message))
            return None
        known = self._channels.get(channel) or self._begin(channel)
        now = time.monotonic()
        self._forget_old(known, now)
        first = known.ids.get(message.id)
        if first is not None:
            if first.digest != message.digest:
                raise IdTaken(message.id)
            return first.position
        here = known.position
        position = Position(epoch=here.epoch, offset=here.offset + 1)
        publication = Publication(channel, message.message, position, here.offset)
        remembered = Remembered(message.id, now, publication)
        known.add(remembered, message.digest)
        known.used_at = now
        self._size += remembered.size
        self._with_history[channel] = known
        self._with_history.move_to_end(channel)
        self._deliver(publication)
        self._forget_much(channel, known)
        return position

    def _look_up(self, channel: str) -> Channel | None:
        """A channel without what is too old; None if nothing is known of it."""
        self._forget_unused()
        known = self._channels.get(channel)
        if known is None:
            if not self._is_heard(channel):
                return None
            known = self._begin(channel)  # a subscriber has to know where the channel stands
        self._forget_old(known, time.monotonic())
        return known

    def _begin(self, channel: str) -> Channel:
        known = self._channels[channel] = Channel(self._epoch)
        return known

    # --- Forgetting -----------------------------------------------------------------

    def _forget_old(self, known: Channel, now: float) -> None:
        """Keep no publications from before `history_seconds`."""
        since = now - self.history_seconds
        while known.history and known.history[0].published_at < since:
            self._forget_oldest(known)

    def _forget_much(self, channel: str, known: Channel) -> None:
        """Keep at most `history_size` in a channel, and `history_bytes` in all of them.

        `channel` is the one that was used last.
        """
        while len(known.history) > self.history_size:
            self._forget_oldest(known)
        while self.history_bytes and self._size > self.history_bytes:
            other, longest_unused = next(iter(self._with_history.items()))
            if longest_unused is known:
                self._forget_oldest(known)
            else:
                self._forget(other, longest_unused)
        self._tidy(channel, known)

    def _forget_unused(self) -> None:
        """Forget channels whose last publication is too old to be asked for."""
        long_ago = time.monotonic() - self.history_seconds
        while self._with_history:
            channel, known = next(iter(self._with_history.items()))
            if known.used_at >= long_ago:
                return
            self._forget(channel, known)

    def _forget(self, channel: str, known: Channel) -> None:
        while known.history:
            self._forget_oldest(known)
        self._tidy(channel, known)

    def _forget_oldest(self, known: Channel) -> None:
        before = known.size
        known.forget_oldest()
        self._size -= before - known.size

    def _tidy(self, channel: str, known: Channel) -> None:
        """Keep no more of a channel without a history than its listeners need."""
        if known.history:
            return
        self._with_history.pop(channel, None)
        if self._is_heard(channel):
            return
        del self._channels[channel]
        if known.position.offset and known.position.epoch == self._epoch:
            self._epoch = secrets.token_hex(8)
