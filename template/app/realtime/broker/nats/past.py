"""What history answers, from what was read of the stream."""

from collections.abc import Sequence
from typing import NamedTuple

from app.realtime.broker.base import History, Page, Publication
from app.realtime.broker.nats.channels import Place
from app.realtime.broker.nats.reader import State, Stored, seconds_of
from app.realtime.broker.nats.stream import Limits
from app.realtime.protocol import Position

EXPIRED = 5.0
"""Seconds by which a record has to be younger than what may have been deleted for its age."""


class Past(NamedTuple):
    """What is known of a channel at one moment."""

    channel: str
    state: State
    oldest: int | None
    """The channel's first sequence in the stream, if there may have been too many before it."""
    place: Place | None
    """Where the channel stood, as far as this worker had heard, when it began to read."""
    limits: Limits

    @property
    def floor(self) -> int:
        """The lowest offset after which everything in the channel is known.

        The stream has all records from its first sequence on, but for those of channels that
        had too many. Somebody who has heard the channel until then knows even more.
        """
        if self.oldest is not None:
            return self.oldest
        quiet = max(0, self.state.first_seq - 1)
        place = self._known_place
        if place is not None and place.offset < quiet and place.covers(quiet):
            return place.offset
        return quiet

    @property
    def _known_place(self) -> Place | None:
        """The place, if it is one of this epoch."""
        place, epoch = self.place, self.state.stream.epoch
        return place if place is not None and place.epoch == epoch else None

    def lowest(self, after: Sequence[Position]) -> int | None:
        """The lowest of these positions after which everything is known."""
        epoch, end = self.state.stream.epoch, self.state.last_seq
        offsets = [it.offset for it in after if it.epoch == epoch]
        return min((it for it in offsets if self.floor <= it <= end), default=None)

    def lowest_remembered(self, after: Sequence[Position], stored: Sequence[Stored]) -> int | None:
        """As `lowest`, but the stream may have more than is remembered."""
        forgotten = len(stored) - len(self.remembered(stored))
        if forgotten:
            floor = stored[forgotten - 1].sequence
            after = [it for it in after if it.offset >= floor]
        return self.lowest(after)

    def is_lost(self, seen: Position | None, stored: Sequence[Stored]) -> bool:
        """Whether the stream has lost what was seen, and not because it was too old."""
        state, place = self.state, self._known_place
        if seen is not None and seen.epoch == state.stream.epoch and seen.offset > state.last_seq:
            return True
        last = stored[-1].sequence if stored else 0
        if place is None or not place.is_real or last >= place.offset:
            return False
        if place.offset >= state.first_seq:
            return True  # records from before it are still there
        age, max_age = state.now - seconds_of(place.time), state.stream.max_age
        return not state.stream.is_bounded and (not max_age or age < max_age - EXPIRED)

    def remembered(self, stored: Sequence[Stored]) -> list[Stored]:
        """Those that are neither too many nor too old."""
        return self._young(stored[-self.limits.size :] if self.limits.size else [])

    def _young(self, stored: Sequence[Stored]) -> list[Stored]:
        """Those that are not too old, which the stream may not have deleted yet."""
        old = 0
        while old < len(stored) and self.state.is_older_than(stored[old], self.limits.seconds):
            old += 1
        return list(stored[old:])

    def history(self, stored: Sequence[Stored], last: int, since: int | None) -> History:
        """The answer: the last messages, and all after `since`.

        `stored` are the messages up to the channel's last one, and one more than is needed.
        """
        remembered = self.remembered(stored)
        start = max(0, len(remembered) - last)
        if since is not None:
            behind = sum(it.sequence > since for it in remembered)
            start = min(start, len(remembered) - behind)
        wanted = remembered[start:]
        if not wanted:
            return self._nothing(stored)
        first = wanted[0].sequence
        earlier = [it.sequence for it in stored if it.sequence < first]
        if earlier:
            return History(self.at(stored[-1].sequence), self.chain(wanted, earlier[-1]))
        floor = self.floor
        previous = self._base(first, since)
        is_known = floor < first
        return History(
            self.at(stored[-1].sequence),
            self.chain(wanted, previous),
            quiet_since=min(floor, previous) if is_known else None,
        )

    def _base(self, first: int, since: int | None) -> int:
        """What `first` names as `previous`, if the stream has no record before it."""
        place = self._known_place
        heard = [place.offset, place.first] if place is not None else []
        offsets = [*heard, since if since is not None else 0, self.floor]
        return next((it for it in offsets if self.floor <= it < first), first - 1)

    def _nothing(self, stored: Sequence[Stored]) -> History:
        """The answer without publications."""
        if stored:
            return History(self.at(stored[-1].sequence), ())
        end, floor, place = self.state.last_seq, self.floor, self._known_place
        offset = place.offset if place is not None and place.offset >= floor else end
        return History(
            self.at(offset), (), quiet_since=min(floor, offset), quiet_until=max(end, offset)
        )

    def page(self, stored: Sequence[Stored], behind: int, limit: int) -> Page:
        """The last `limit` messages of those that were read, which others follow.

        `behind` is the number of those that follow.
        """
        room = max(0, self.limits.size - behind)
        newest = self._young(stored[-room:] if room else [])
        page = newest[-limit:]
        earlier = [it.sequence for it in stored if page and it.sequence < page[0].sequence]
        first = earlier[-1] if earlier else page[0].sequence - 1 if page else 0
        return Page(self.state.stream.epoch, self.chain(page, first), complete=len(newest) <= limit)

    def at(self, offset: int) -> Position:
        return Position(epoch=self.state.stream.epoch, offset=offset)

    def chain(self, stored: Sequence[Stored], previous: int) -> list[Publication]:
        """Messages as publications, each the `previous` of the next."""
        publications = []
        for it in stored:
            position = self.at(it.sequence)
            publications.append(Publication(self.channel, it.text, position, previous))
            previous = it.sequence
        return publications
