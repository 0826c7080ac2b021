"""What a worker remembers of a log: the channels in it, their history and where they stand.

A position's offset is that of the entry in the log plus one, so that 0 comes before all.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from itertools import islice
from sys import getsizeof
from typing import NamedTuple

from app.realtime.broker.base import History, Page, Publication
from app.realtime.broker.log.entry import Content
from app.realtime.broker.memory import CHANNEL_BYTES, RECORD_BYTES
from app.realtime.protocol import Position

MAX_POSITIONS = 100_000
"""Channels without a history of which a worker remembers where they stand."""

CLOCKS = 60.0
"""Seconds by which the clocks of the log and of the workers may differ.

What is too old by the worker's clock is not shown, but stays in memory for so long.
"""


class Remembered(NamedTuple):
    """A record in a channel's history."""

    offset: int
    id: str
    digest: bytes
    published_at: float
    message: str

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return RECORD_BYTES + getsizeof(self.id) + getsizeof(self.digest) + getsizeof(self.message)


class Known:
    """What is known of one partition: its epoch, and from where on everything."""

    def __init__(self) -> None:
        self.epoch = ""
        self.since = 0
        """Of channels that are not remembered, everything after this offset is known."""
        self.until = 0
        """Everything up to this offset is known."""

    def begin(self, epoch: str, since: int) -> None:
        self.epoch, self.since = epoch, since


class Channel:
    """The history of a channel, and where it stands."""

    def __init__(self, name: str, known: Known, end: int, since: int) -> None:
        self.name = name
        self.known = known
        self.end = end
        """The offset of its last publication. If that is not known, where it is known to be
        quiet."""
        self.since = since
        """Nothing was published between this offset and the first record in the history."""
        self.start = end
        """What the first record in the history names as its `previous`."""
        self.is_heard = False
        self.has_forgotten = False
        """Whether there were records that are not in the history any more."""
        self.history: deque[Remembered] = deque()
        self.ids: dict[str, Remembered] = {}
        self.size = 0
        """Bytes of the history, and of the channel while it has one."""

    def add(self, it: Remembered) -> Publication:
        previous = self.end
        if not self.history:
            self.size = CHANNEL_BYTES
        self.history.append(it)
        self.ids[it.id] = it
        self.size += it.size
        self.end = it.offset
        return self.publication(it, previous)

    def publication(self, it: Remembered, previous: int) -> Publication:
        position = Position(epoch=self.known.epoch, offset=it.offset)
        return Publication(self.name, it.message, position, previous)

    def forget_oldest(self) -> None:
        oldest = self.history.popleft()
        if self.ids.get(oldest.id) is oldest:
            del self.ids[oldest.id]
        self.start = self.since = oldest.offset
        self.has_forgotten = True
        self.size = self.size - oldest.size if self.history else 0

    def too_old(self, oldest_at: float) -> int:
        """How many records at the beginning of the history are from before a time."""
        for index, it in enumerate(self.history):
            if it.published_at >= oldest_at:
                return index
        return len(self.history)

    def count_from(self, offset: int) -> int:
        """How many records in the history have this offset or a later one."""
        for index, it in enumerate(reversed(self.history)):
            if it.offset < offset:
                return index
        return len(self.history)

    def previous_of(self, index: int) -> int:
        """The offset before a record, or, after the last record, where the channel stands."""
        return self.history[index - 1].offset if index else self.start

    def publications(self, first: int, behind: int) -> list[Publication]:
        """The records of the history from one index up to another one."""
        previous = self.previous_of(first)
        found: list[Publication] = []
        for it in islice(self.history, first, behind):
            found.append(self.publication(it, previous))
            previous = it.offset
        return found


class Channels:
    """All channels of all partitions, within the bounds that the settings give."""

    def __init__(self, size: int, seconds: float, total_bytes: int) -> None:
        """As `Backend` is given them; 0 bytes are no bound."""
        self._history_size = size
        self._seconds = seconds
        self._bytes = total_bytes
        self._channels: dict[str, Channel] = {}
        """Those that are heard, and those with a history."""
        self._with_history: OrderedDict[str, Channel] = OrderedDict()
        """The channel that was used longest ago comes first."""
        self._positions: OrderedDict[str, tuple[Known, int]] = OrderedDict()
        """Where channels without a history stand that nobody hears; the oldest come first."""
        self._size = 0

    def get(self, name: str) -> Channel | None:
        return self._channels.get(name)

    def hear(self, name: str, known: Known) -> Channel:
        """A channel that is remembered from now on until `unhear`."""
        channel = self._look_up(name, known)
        channel.is_heard = True
        self._channels[name] = channel
        return channel

    def unhear(self, name: str) -> None:
        channel = self._channels.get(name)
        if channel is not None:
            channel.is_heard = False
            self._tidy(channel)

    def _look_up(self, name: str, known: Known) -> Channel:
        """A channel, which is not remembered unless it was."""
        channel = self._channels.get(name)
        if channel is not None:
            return channel
        position = self._positions.pop(name, None)
        if position is None:
            return Channel(name, known, known.until, known.since)
        self._positions[name] = position
        return Channel(name, known, position[1], position[1])

    # --- What is read from the log ----------------------------------------------------

    def add(
        self, known: Known, offset: int, appended_at: float, content: Content
    ) -> Publication | Remembered:
        """Take a record from the log.

        Returns what to deliver, or the record in the history that has the same id.
        """
        name = content.channel
        channel = self._look_up(name, known)
        self._forget_old(channel, appended_at - self._seconds)
        first = channel.ids.get(content.id)
        if first is not None:
            return first
        self._channels[name] = channel
        self._positions.pop(name, None)
        it = Remembered(offset, content.id, content.digest, appended_at, content.message)
        before = channel.size
        publication = channel.add(it)
        self._size += channel.size - before
        self._with_history[name] = channel
        self._with_history.move_to_end(name)
        self._forget_much(channel)
        return publication

    def find(self, name: str, record_id: str, now: float) -> Remembered | None:
        """The record with an id, while it is remembered."""
        channel = self._channels.get(name)
        it = channel.ids.get(record_id) if channel is not None else None
        return it if it is not None and it.published_at >= now - self._seconds else None

    # --- Questions ----------------------------------------------------------------------

    def history(
        self, name: str, known: Known, now: float, last: int, is_wanted: Callable[[int], list[int]]
    ) -> History:
        """As `Backend.history`.

        `is_wanted` returns the offsets after which all is wanted, of those that are not lower
        than the one it is given.
        """
        channel = self._look_up(name, known)
        visible, count = channel.too_old(now - self._seconds), len(channel.history)
        since = channel.since if visible == 0 else channel.previous_of(visible)
        wanted = [offset for offset in is_wanted(since) if offset < channel.end]
        if wanted:
            last = max(last, channel.count_from(min(wanted) + 1))
        first = max(visible, count - last)
        return History(
            Position(epoch=known.epoch, offset=channel.end),
            channel.publications(first, count),
            quiet_since=since if first == visible else None,
            quiet_until=known.until,
        )

    def page(self, name: str, known: Known, now: float, before: int | None, limit: int) -> Page:
        """As `Backend.page`."""
        channel = self._look_up(name, known)
        visible, behind = channel.too_old(now - self._seconds), len(channel.history)
        if before is not None:
            behind -= channel.count_from(before)
        first = max(visible, behind - limit)
        return Page(known.epoch, channel.publications(first, behind), complete=first <= visible)

    # --- Forgetting -----------------------------------------------------------------

    def clear(self, known: Known) -> None:
        """Forget all channels of a partition, as its epoch has ended."""
        for name in [it.name for it in self._channels.values() if it.known is known]:
            channel = self._channels.pop(name)
            self._with_history.pop(name, None)
            self._size -= channel.size
        for name in [name for name, it in self._positions.items() if it[0] is known]:
            del self._positions[name]

    def forget_unused(self, now: float) -> None:
        """Forget histories that are too old for everybody."""
        long_ago = now - self._seconds - CLOCKS
        while self._with_history:
            channel = next(iter(self._with_history.values()))
            if channel.history[-1].published_at >= long_ago:
                return
            self._forget(channel)

    def _forget_old(self, channel: Channel, since: float) -> None:
        while channel.history and channel.history[0].published_at < since:
            self._forget_oldest(channel)

    def _forget_much(self, channel: Channel) -> None:
        """Keep at most so many in a channel, and so many bytes in all of them.

        `channel` is the one that was used last.
        """
        while len(channel.history) > self._history_size:
            self._forget_oldest(channel)
        while self._bytes and self._size > self._bytes:
            longest_unused = next(iter(self._with_history.values()))
            if longest_unused is channel:
                self._forget_oldest(channel)
            else:
                self._forget(longest_unused)
        self._tidy(channel)

    def _forget(self, channel: Channel) -> None:
        while channel.history:
            self._forget_oldest(channel)
        self._tidy(channel)

    def _forget_oldest(self, channel: Channel) -> None:
        before = channel.size
        channel.forget_oldest()
        self._size -= before - channel.size

    def _tidy(self, channel: Channel) -> None:
        """Keep no more than a position of a channel without a history that nobody hears."""
        if channel.history:
            return
        name = channel.name
        self._with_history.pop(name, None)
        if channel.is_heard:
            return
        self._channels.pop(name, None)
        if not channel.has_forgotten:
            return  # it was quiet, or its position is in `_positions` already
        self._positions[name] = (channel.known, channel.end)
        if len(self._positions) > MAX_POSITIONS:
            _, (known, end) = self._positions.popitem(last=False)
            known.since = max(known.since, end)
