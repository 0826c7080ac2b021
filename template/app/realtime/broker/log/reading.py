"""What was read of a partition lately, to check what other workers claim to have read."""

import hashlib
from collections import OrderedDict
from typing import NamedTuple

from app.realtime.broker.log.entry import Claim, Stamp

MAX_PLACES = 4096
"""Entries of a partition against which a reader can check claims."""

SUMS = 2**64


class Place(NamedTuple):
    """An entry, and the sum of the digests of all that were read, without it and with it."""

    offset: int
    stamp: Stamp
    before: int
    total: int


class Reading:
    """The last entries that were read of a partition.

    A reader may begin anywhere, so its sums mean nothing to others. But the difference of two
    of them says which entries it has read between two offsets.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        """The offset at which this reader began."""
        self.last: Place | None = None
        self._places: OrderedDict[int, Place] = OrderedDict()
        self._since = -1

    def note(self, offset: int, stamp: Stamp) -> None:
        """An entry was read."""
        if self.first is None:
            self.first = offset
        before = self.last.total if self.last is not None else 0
        self.last = Place(offset, stamp, before, (before + digest_of(offset, stamp)) % SUMS)
        self._places[offset] = self.last
        if len(self._places) > MAX_PLACES:
            self._places.popitem(last=False)

    def knows(self, offset: int) -> bool:
        return offset in self._places

    def holds(self, claim: Claim) -> bool:
        """Whether the claim is about what was read here, as far as that is known.

        Raises KeyError if the last entry that it names is not known.
        """
        seen, since = self._places[claim.seen], self._places.get(claim.since)
        is_same = since is None or (seen.total - since.before) % SUMS == claim.digest
        return seen.stamp == claim.stamp and is_same

    def claim(self, epoch: str) -> Claim | None:
        """What this reader can say that it has read."""
        if self.last is None:
            return None
        since = self._places.get(self._since) or next(iter(self._places.values()))
        seen = self.last
        digest = (seen.total - since.before) % SUMS
        return Claim(epoch, seen.offset, seen.stamp, since.offset, digest)

    def was_claimed(self, offset: int) -> None:
        """A claim of this reader, up to an entry, is in the log. The next one begins there."""
        if offset in self._places:
            self._since = offset


class Check:
    """Finds out, while a partition is read anew, whether it still holds what was read before."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._first: int | None = None
        self._before: int | None = None
        self._is_held = False

    def note(self, place: Place) -> None:
        if self._first is None:
            self._first = place.offset
        if place.offset == self._claim.since:
            self._before = place.before
        if place.offset == self._claim.seen and self._before is not None:
            digest = (place.total - self._before) % SUMS
            self._is_held = (place.stamp, digest) == (self._claim.stamp, self._claim.digest)

    @property
    def has_failed(self) -> bool:
        """Whether all of it was read, and is something else.

        What is older than the place where reading began can't be checked.
        """
        return self._first is not None and self._first <= self._claim.since and not self._is_held


def digest_of(offset: int, stamp: Stamp) -> int:
    """What an entry adds to the sums."""
    digest = hashlib.blake2b(offset.to_bytes(8) + stamp, digest_size=8).digest()
    return int.from_bytes(digest)
