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
from sys import getsizeof
from typing import NamedTuple

from broadcaster import Event

from app.realtime.broker.base import Backend, History, IdTaken, Page, Publication, Record
from app.realtime.protocol import Position

RECORD_BYTES = 250
"""What a record takes beside its message and its id: its places in the history and their parts.

Measured by tracemalloc in CPython 3.11 and 3.13, for 100,000 records in 1 to 1,000 channels. The
memory of the process grows by some 10 % more.
"""

CHANNEL_BYTES = 1700
"""What a channel with a history takes beside its records, measured likewise."""


class Remembered(NamedTuple):
    """A record in a channel's history.

    Thousands of these are kept, so they have few parts: to find and free them is a good part
    of what a publication costs.
    """

    id: str
    content: int
    """The hash of `Record.content`. Python's hash of a string can't be foreseen by clients."""
    published_at: float
    message: str

    @property
    def size(self) -> int:
        """About how many bytes it takes. A character of text may take one to four."""
        return RECORD_BYTES + getsizeof(self.id) + getsizeof(self.message)


class Channel:
    """The history of a channel, and where it stands. Its offsets are contiguous."""

    def __init__(self, name: str, epoch: str) -> None:
        self.name = name
        self.position = Position(epoch=epoch, offset=0)
        self.history: deque[Remembered] = deque()
        self.offsets: dict[str, int] = {}
        """By id, of everything in the history."""
        self.size = 0
        """Bytes of the history, and of the channel while it has one."""
        self.used_at = time.monotonic()

    @property
    def forgotten(self) -> int:
        """The offset before the first one in the history."""
        return self.position.offset - len(self.history)

    def at(self, offset: int) -> Position:
        return Position(epoch=self.position.epoch, offset=offset)

    def add(self, remembered: Remembered) -> Publication:
        """Remember a record at the next position."""
        previous = self.position.offset
        self.position = self.at(previous + 1)
        if not self.history:
            self.size = CHANNEL_BYTES
        self.history.append(remembered)
        self.offsets[remembered.id] = previous + 1
        self.size += remembered.size
        return Publication(self.name, remembered.message, self.position, previous)

    def forget_oldest(self) -> None:
        """Forget a record."""
        oldest = self.history.popleft()
        del self.offsets[oldest.id]
        self.size = self.size - oldest.size if self.history else 0

    def after(self, offset: int, before: int | None = None) -> list[Publication]:
        """The remembered publications after an offset, and before another one."""
        forgotten = self.forgotten
        start, end = max(offset, forgotten), self.position.offset
        if before is not None:
            end = min(end, before - 1)
        remembered = islice(self.history, start - forgotten, max(start, end) - forgotten)
        return [
            Publication(self.name, it.message, self.at(previous + 1), previous)
            for previous, it in enumerate(remembered, start)
        ]


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
        here = known.position
        wanted = [
            it.offset for it in after if it.epoch == here.epoch and it.offset >= known.forgotten
        ]
        return History(here, known.after(min(here.offset - last, *wanted, here.offset)))

    async def page(self, channel: str, *, before: int | None, limit: int) -> Page:
        known = self._look_up(channel)
        if known is None:
            return Page(self._epoch, (), complete=True)
        end = known.position.offset + 1 if before is None else before
        start = min(end - 1, known.position.offset) - limit
        return Page(
            known.position.epoch, known.after(start, end), complete=start <= known.forgotten
        )

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
        content = hash(message.content)
        first = known.offsets.get(message.id)
        if first is not None:
            if known.history[first - known.forgotten - 1].content != content:
                raise IdTaken(message.id)
            return known.at(first)
        remembered = Remembered(message.id, content, now, message.message)
        before = known.size
        publication = known.add(remembered)
        known.used_at = now
        self._size += known.size - before
        self._with_history[channel] = known
        self._with_history.move_to_end(channel)
        self._deliver(publication)
        self._forget_much(channel, known)
        return publication.position

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
        known = self._channels[channel] = Channel(channel, self._epoch)
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
