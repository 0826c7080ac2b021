"""One partition of the log, as far as this worker has read it."""

from collections import OrderedDict, deque
from typing import Protocol

from app.realtime.broker.log.base import Entry
from app.realtime.broker.log.channels import Known
from app.realtime.broker.log.entry import CANARY, NEVER, Claim, Content, Stamp
from app.realtime.broker.log.epochs import Epochs, Verdict
from app.realtime.broker.log.reading import Check

MAX_EARLY = 10_000
"""Entries that may wait until the epoch is known. The oldest are given up first."""


MAX_WRITERS = 10_000
"""Workers whose last entry is known. Those that wrote longest ago are forgotten first."""


class Sink(Protocol):
    """Whoever wants what was read."""

    def take(self, partition: "Partition", entry: Entry, content: Content) -> None:
        """Take a record or a plain string, which counts for the epoch."""

    def begin(self, partition: "Partition") -> None:
        """Forget what came before, as it does not count any more."""

    def resubscribed(self, partition: "Partition") -> None:
        """What came before may be missing to those who hear channels of the partition."""


class Partition:
    def __init__(self, number: int, sink: Sink, *, was_live: bool = False) -> None:
        """`was_live`: somebody may have heard channels of it before."""
        self.number = number
        self.known = Known()
        self.epochs = Epochs()
        self.report: Claim | None = None
        """What this worker believed before it began to read anew.

        If the log does not hold that any more, and nobody else could tell: that the epoch ends.
        """
        self.marker: Stamp | None = None
        """The canary that was written when this connection began to read."""
        self.expected: tuple[int, Stamp] | None = None
        """The entry with which a new connection continues, which was read already."""
        self.is_caught_up = False
        """Whether this connection has read up to its marker."""
        self.is_live = False
        """Whether what is read is news, and not history."""
        self.heard_at: float | None = None
        """When this worker last read a canary of its own, by the clock of the event loop."""
        self._check: Check | None = None
        """Whether the log still holds what `report` says."""
        self._sink = sink
        self._was_live = was_live
        self._early: deque[tuple[Entry, Content]] = deque(maxlen=MAX_EARLY)
        self._written: OrderedDict[bytes, int] = OrderedDict()
        """The number of the last message of each worker."""

    @property
    def is_known(self) -> bool:
        return self.epochs.epoch is not None

    @property
    def claim(self) -> Claim | None:
        """What to write into an entry."""
        return self.report or self.epochs.claim

    def start(self, marker: Stamp) -> None:
        """Begin with another connection."""
        self.marker = marker
        self.is_caught_up = False
        self.heard_at = None
        last = self.epochs.reading.last
        if self.is_live and last is not None:
            self.expected = last.offset, last.stamp
        else:
            self.forget()

    def forget(self) -> None:
        """Read everything anew with the next connection."""
        self.report = self.report or self.epochs.claim
        self._check = Check(self.report) if self.report is not None else None
        self.epochs = Epochs()
        self.is_live = False
        self.expected = None
        self._early.clear()
        self._written.clear()

    def note(self, offset: int, stamp: Stamp) -> None:
        """An entry that says nothing was read."""
        self.epochs.note(offset, stamp)
        self._was_read()
        self.known.until = offset + 1

    def take(self, entry: Entry, content: Content) -> bool:
        """Take the next entry. False if the partition has to be read anew."""
        marker = self.marker
        is_own = marker is not None and content.stamp[:8] == marker[:8]
        # The log may have lost the marker. A later canary does as well.
        is_marker = is_own and not self.is_caught_up and content.stamp >= (marker or b"")
        verdict = self.epochs.take(entry.offset, content, is_marker=is_marker)
        if verdict is Verdict.CONTRADICTS:
            return False
        if is_own and content.claim is not None:
            self.epochs.reading.was_claimed(content.claim.seen)
        self._was_read()
        if is_marker and self._has_lost_unnoticed():
            return False
        if verdict is Verdict.BEGINS:
            self._begin()
        if content.kind != CANARY and self._is_new(content.stamp):
            if self.is_known:
                self._sink.take(self, entry, content)
            else:
                self._early.append((entry, content))
        self.known.until = entry.offset + 1
        if is_marker:
            self._catch_up()
        return True

    def _was_read(self) -> None:
        last = self.epochs.reading.last
        if self._check is not None and last is not None:
            self._check.note(last)

    def _has_lost_unnoticed(self) -> bool:
        """Whether the epoch of the report goes on, although the log lost what was read in it.

        Others can't see that if it was too many entries ago. Then the report has to say so.
        """
        report = self.report
        if report is None or self._check is None or not self._check.has_failed:
            return False
        if report.epoch != self.epochs.epoch or report.seen == NEVER:
            return False
        self.report = report._replace(seen=NEVER)
        return True

    def _is_new(self, stamp: Stamp) -> bool:
        """Whether a message is not a copy: a log may append what it is sent again after a fault.

        A worker's messages are numbered in the order in which it appends them.
        """
        worker, number = stamp[:8], int.from_bytes(stamp[8:])
        is_new = number > self._written.get(worker, 0)
        if is_new:
            self._written[worker] = number
            self._written.move_to_end(worker)
            if len(self._written) > MAX_WRITERS:
                self._written.popitem(last=False)
        return is_new

    def _catch_up(self) -> None:
        self.is_caught_up = self.is_live = True
        self.report = self._check = None
        if self._was_live:
            self._sink.resubscribed(self)
        self._was_live = True

    def _begin(self) -> None:
        """Go on in the epoch that has begun."""
        self._sink.begin(self)
        begins_at = self.epochs.begins_at
        if len(self._early) == MAX_EARLY:
            begins_at = max(begins_at, self._early[0][0].offset)
        self.known.begin(self.epochs.epoch or "", begins_at)
        self.known.until = begins_at
        for entry, content in self._early:
            if entry.offset >= begins_at:
                self._sink.take(self, entry, content)
                self.known.until = entry.offset + 1
        self._early.clear()
        if self.is_live:
            self._sink.resubscribed(self)
