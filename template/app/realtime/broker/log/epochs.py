"""Which epoch a partition of the log is in, as every reader concludes from its entries.

Nobody decides about an epoch: it follows from the entries, in their order. Every entry carries
a claim: the epoch its writer believed in, and which entries it had read last, from the last one
of its previous claim on. A reader takes a claim for true if it has read the same ones. The rules:

1. Who begins to read knows no epoch. It learns it from the first true claim. If there is none
   up to the end of the log, nobody has used the log lately: the first worker that began to read
   has proposed an epoch by its first canary.
2. A claim to have read an entry that is not in the log proves that the log lost its end, or
   everything. The epoch of the claim ends there. The name of the next one follows from the
   name of the one that ended and from the offset. Claims of an epoch that has ended count for
   the one that followed: their writers have not noticed yet.
3. A reader that finds a claim which contradicts what it has read can't know whether it or the
   writer is the one that read something else. It begins to read anew. A claim that still
   contradicts proves that the writer had read something else (rule 2). Two true claims of
   different epochs end both of them.

So an epoch that has ended never returns: new names are digests, or random.
"""

import hashlib
from collections import OrderedDict
from enum import Enum, auto
from typing import NamedTuple

from app.realtime.broker.log.entry import Claim, Content, Stamp
from app.realtime.broker.log.reading import Reading

MAX_ENDED = 1000
"""Ended epochs that a reader knows."""


class Verdict(Enum):
    """What an entry says about the epoch."""

    SAME = auto()
    """Nothing new."""
    BEGINS = auto()
    """Now the reader knows the epoch, or another one has begun. `begins_at` says where."""
    CONTRADICTS = auto()
    """The reader has to read the partition anew."""


class Ended(NamedTuple):
    offset: int
    """Of the entry that proved it."""
    successor: str


class Epochs:
    """The epoch of one partition, for one reader. Give it every entry, in order."""

    def __init__(self) -> None:
        self.epoch: str | None = None
        """None until the reader knows it."""
        self.begins_at = 0
        """The offset of the first entry that counts for the epoch."""
        self.is_fresh = True
        """Whether all that is known was read since the reader began, and the end of the log at
        that time is not reached."""
        self.reading = Reading()
        self._proposal: tuple[str, int] | None = None
        self._ended: OrderedDict[str, Ended] = OrderedDict()

    @property
    def claim(self) -> Claim | None:
        """What this reader claims in entries that it writes."""
        return None if self.epoch is None else self.reading.claim(self.epoch)

    def take(self, offset: int, content: Content, *, is_marker: bool = False) -> Verdict:
        """Take the next entry.

        `is_marker`: it is the canary that this reader wrote when it began to read.
        """
        before = self.epoch
        if self.reading.first is None:
            self.begins_at = offset
        verdict = self._judge(offset, content)
        if verdict is Verdict.CONTRADICTS:
            return verdict  # what this reader claims ends before this entry
        self._proposal = self._proposal or self._proposed(offset, content)
        self.note(offset, content.stamp)
        if is_marker:
            if self.epoch is None and self._proposal is not None:
                self._settle(*self._proposal)
            self.is_fresh = False
        if verdict is Verdict.SAME and self.epoch != before:
            return Verdict.BEGINS
        return verdict

    def note(self, offset: int, stamp: Stamp) -> None:
        """Remember an entry, so that claims about it can be checked."""
        if self.reading.first is None:
            self.begins_at = offset
        self.reading.note(offset, stamp)

    def _judge(self, offset: int, content: Content) -> Verdict:
        claim = content.claim
        if claim is None:
            return Verdict.SAME
        if claim.seen >= offset:
            self._end(claim.epoch, offset)
        elif not self.reading.knows(claim.seen):
            return Verdict.SAME
        elif self.reading.holds(claim):
            return self._compare(offset, *self._follow(claim.epoch))
        elif claim.epoch not in self._ended:
            if not self.is_fresh:
                return Verdict.CONTRADICTS
            self._end(claim.epoch, offset)
        return Verdict.SAME

    def _compare(self, offset: int, epoch: str, begins_at: int) -> Verdict:
        """Compare the epoch of a true claim with what this reader knows."""
        if self.epoch is None:
            self._settle(epoch, begins_at)
        elif epoch != self.epoch:
            if not self.is_fresh:
                return Verdict.CONTRADICTS
            both = sorted((epoch, self.epoch))
            successor = derive(*both)
            for ended in both:
                self._note_end(ended, Ended(offset, successor))
            self._settle(successor, offset)
        return Verdict.SAME

    def _proposed(self, offset: int, content: Content) -> tuple[str, int] | None:
        """The epoch that begins with an entry if no claim can be taken for true."""
        claim = content.claim
        if claim is not None and claim.epoch in self._ended:
            return self._ended[claim.epoch].successor, offset
        if claim is not None and self.reading.knows(claim.seen):
            return None
        return derive(content.stamp.hex()), offset

    def _end(self, epoch: str, offset: int) -> None:
        """An epoch has ended, if it had not before."""
        if epoch in self._ended:
            return
        successor = derive(epoch, str(offset))
        self._note_end(epoch, Ended(offset, successor))
        if epoch == self.epoch:
            self._settle(successor, offset)

    def _note_end(self, epoch: str, ended: Ended) -> None:
        self._ended[epoch] = ended
        if len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)

    def _follow(self, epoch: str) -> tuple[str, int]:
        """The epoch that `epoch` has become, and where it began."""
        begins_at = self.reading.first or 0
        for ended in self._ended.values():
            if ended.successor == epoch:
                begins_at = ended.offset
        while (end := self._ended.get(epoch)) is not None:
            epoch, begins_at = end.successor, end.offset
        return epoch, begins_at

    def _settle(self, epoch: str, begins_at: int) -> None:
        self.epoch, self.begins_at = epoch, begins_at


def derive(*parts: str) -> str:
    """The name of an epoch that follows from others."""
    return hashlib.blake2b(" ".join(parts).encode(), digest_size=8).hexdigest()
