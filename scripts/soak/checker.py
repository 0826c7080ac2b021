"""Checks a history: what clients saw against what the documentation promises.

It knows nothing of how the history came about, and decides only by what is in it. Each rule
is a sentence in `RULES`.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from scripts.soak.history import (
    NOBODY,
    Acknowledged,
    Disconnected,
    Fault,
    Joined,
    Messages,
    Operation,
    Page,
    Problem,
    Publish,
    Quiet,
    Refused,
    Resync,
)
from scripts.soak.stays import Gap, Stay, Stays

COMPLETE = "nothing is missing"
ONCE = "no duplicates"
ORDER = "messages come in the order of their offsets"
SAME = "all clients see the same message at an offset"
ONE_PLACE = "a message has one offset in an epoch"
PUBLISHED = "only what was published is received"
TOLD = "a gap is told only if messages are lost"
EPOCHS = "an epoch ends only if Redis lost its data"
ONE_EPOCH = "positions are of one epoch"
SENDERS_ORDER = "a publisher's messages keep their order"
REAL_TIME = "what is published after an acknowledgement comes after it"
REMEMBERED = "what was acknowledged is in the history of its room"
ANSWERED = "every publish is answered"
MEMBERS = "only members receive messages"
QUESTION = "an answer has a question"
RETURNED = "every client is connected at the end"
EXPECTED = "no unexpected answers"

RULES = (
    *(COMPLETE, ONCE, ORDER, SAME, ONE_PLACE, PUBLISHED, TOLD, EPOCHS, ONE_EPOCH, SENDERS_ORDER),
    *(REAL_TIME, REMEMBERED, ANSWERED, MEMBERS, QUESTION, RETURNED, EXPECTED),
)

LOSS = "redis-loss"
"""The fault in which Redis loses all its data."""

LAG = 2.0
"""Seconds between a publication and what clients saw of it. Ages are known that precisely."""

Epoch = tuple[str, str]
"""A room, and one of its epochs."""


@dataclass(frozen=True)
class Promises:
    """What the settings of the server say about history."""

    history_size: int = 1000
    """Messages that a room remembers."""
    history_seconds: float = 3600.0
    recent: int = 50
    """Messages that a join without `since` receives at most."""


@dataclass
class Verdict:
    """Which rules a history breaks, with the first cases of each."""

    gaps: int = 0
    """How often a client was told that messages are lost to it."""
    broken: dict[str, list[str]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    """How often each rule was broken."""

    @property
    def is_good(self) -> bool:
        return not self.broken

    def violate(self, rule: str, case: str) -> None:
        cases = self.broken.setdefault(rule, [])
        if len(cases) < 20:
            cases.append(case)
        self.counts[rule] = self.counts.get(rule, 0) + 1


def check(operations: Sequence[Operation], promises: Promises = Promises()) -> Verdict:
    """Check a history. The operations of a client are in their order; clients may be mixed."""
    return Checker(operations, promises).verdict


class Checker:
    """Holds what the rules have to know of a history."""

    def __init__(self, operations: Sequence[Operation], promises: Promises) -> None:
        self.verdict = Verdict()
        self._promises = promises
        self._operations = operations
        stays = Stays(operations)
        for rule, case in stays.violations:
            self.verdict.violate(rule, case)
        self._stays, self._gaps = stays.all, stays.gaps
        self.verdict.gaps = len(self._gaps)
        self._published: dict[int, Publish] = {}
        """The first time that a message was sent."""
        self._sent_again: set[int] = set()
        self._acknowledged: dict[int, float] = {}
        """When a message was acknowledged first."""
        self._collect()
        self._logs = self._build_logs()
        self._offsets = {epoch: sorted(log) for epoch, log in self._logs.items()}
        self._newest = self._check_epochs()
        for stay in self._stays:
            self._check_stay(stay)
        for gap in self._gaps:
            self._check_gap(gap)
        self._check_senders_order()
        self._check_real_time()
        self._check_memory_of_rooms()
        self._check_clients()

    def _of(self, kind: type[Operation]) -> Iterable[Operation]:
        return (operation for operation in self._operations if isinstance(operation, kind))

    def _collect(self) -> None:
        for operation in self._operations:
            match operation:
                case Publish():
                    if self._published.setdefault(operation.id, operation) is not operation:
                        self._sent_again.add(operation.id)
                case Acknowledged():
                    self._acknowledged.setdefault(operation.id, operation.at)

    # --- The order of each room -----------------------------------------------------

    def _build_logs(self) -> dict[Epoch, dict[int, int]]:
        """The id at each offset, as all clients together saw it."""
        logs: dict[Epoch, dict[int, int]] = defaultdict(dict)
        for stay in self._stays:
            self._merge(logs[stay.room, stay.epoch], stay, str(stay))
        for page in self._of(Page):
            assert isinstance(page, Page)
            self._merge(logs[page.room, page.epoch], page, f"history of {page.room}")
        for (room, epoch), log in logs.items():
            places: dict[int, int] = {}
            for offset, id_ in log.items():
                if places.setdefault(id_, offset) != offset:
                    places_text = f"{places[id_]} and {offset}"
                    self.verdict.violate(ONE_PLACE, f"{id_} in {room} ({epoch}) at {places_text}")
                published = self._published.get(id_)
                if published is None or published.room != room:
                    self.verdict.violate(PUBLISHED, f"{id_} at {offset} in {room} ({epoch})")
        return logs

    def _merge(self, log: dict[int, int], seen: Stay | Page, where: str) -> None:
        for offset, id_ in zip(seen.offsets, seen.ids, strict=True):
            known = log.setdefault(offset, id_)
            if known != id_:
                self.verdict.violate(SAME, f"{where}: {id_} at {offset}, where {known} is")

    def _check_epochs(self) -> dict[str, str]:
        """The newest epoch of each room. Epochs are in the order in which anybody saw them."""
        losses = sorted(f.at for f in self._of(Fault) if isinstance(f, Fault) and f.kind == LOSS)
        seen: dict[str, list[str]] = defaultdict(list)
        ranks: dict[tuple[int, str], int] = {}
        starts = [op for op in self._operations if isinstance(op, Joined | Resync)]
        for start in sorted(starts, key=lambda it: it.at):
            epochs = seen[start.room]
            if start.epoch not in epochs:
                epochs.append(start.epoch)
                if bisect_right(losses, start.at) < len(epochs) - 1:
                    case = f"{start.room} at {start.at:.3f}: {epochs[-2:]}"
                    self.verdict.violate(EPOCHS, case)
            rank = epochs.index(start.epoch)
            if rank < ranks.get((start.client, start.room), 0):
                case = f"client {start.client} in {start.room} is back in {start.epoch}"
                self.verdict.violate(EPOCHS, case)
            ranks[start.client, start.room] = rank
        return {room: epochs[-1] for room, epochs in seen.items()}

    # --- What a client received -----------------------------------------------------

    def _check_stay(self, stay: Stay) -> None:
        """All that was due came, once and in order."""
        received = list(stay.offsets)
        log = self._offsets.get((stay.room, stay.epoch), [])
        if len(set(received)) < len(received):
            twice = sorted({offset for offset in received if received.count(offset) > 1})
            self.verdict.violate(ONCE, f"{stay}: {twice[:5]}")
            return
        if any(later < earlier for earlier, later in pairwise(received)):
            self.verdict.violate(ORDER, f"{stay}: {received[-20:]}")
            return
        start = bisect_right(log, stay.joined if stay.after is None else stay.after)
        if stay.after is None and received and received[0] <= stay.joined:
            first = bisect_left(log, received[0])
            if start - first > self._promises.recent:
                self.verdict.violate(EXPECTED, f"{stay}: {start - first} recent messages")
            start = first
        elif received and start < len(log) and received[0] < log[start]:
            self.verdict.violate(ONCE, f"{stay}: {received[0]} is not after {stay.after}")
            return
        end = bisect_right(log, received[-1]) if received else start
        if stay.is_complete:
            end = len(log)
        due = log[start:end]
        if received != due:
            missing = sorted(set(due) - set(received))
            ids = [self._logs[stay.room, stay.epoch][offset] for offset in missing[:5]]
            case = f"{stay}: {len(missing)} of {len(due)} are missing, first {missing[:5]} {ids}"
            self.verdict.violate(COMPLETE, case)
        if stay.is_complete and self._newest.get(stay.room) != stay.epoch:
            self.verdict.violate(COMPLETE, f"{stay} is in epoch {stay.epoch}, which has ended")

    def _check_gap(self, gap: Gap) -> None:
        """Within an epoch, history may only be too short."""
        if gap.epoch != gap.old_epoch:
            return
        log = self._offsets.get((gap.room, gap.epoch), [])
        since = bisect_right(log, gap.after)
        missed = len(log) - since
        if missed > self._promises.history_size:
            return
        if since < len(log):
            first = self._logs[gap.room, gap.epoch][log[since]]
            published = self._published.get(first)
            if published and gap.at - published.at > self._promises.history_seconds - LAG:
                return
        self.verdict.violate(TOLD, f"{gap}, after {gap.after} in {gap.epoch}, missed {missed}")

    # --- Publishers -----------------------------------------------------------------

    def _check_senders_order(self) -> None:
        """Messages of one connection, other than those sent again, have growing offsets."""
        places: dict[int, list[tuple[Epoch, int]]] = defaultdict(list)
        for epoch, log in self._logs.items():
            for offset, id_ in log.items():
                places[id_].append((epoch, offset))
        latest: dict[tuple[int, int, Epoch], tuple[int, int]] = {}
        for publish in self._published.values():
            if publish.id in self._sent_again:
                continue
            for epoch, offset in places.get(publish.id, ()):
                key = publish.client, publish.connection, epoch
                before, before_id = latest.get(key, (-1, 0))
                if offset < before:
                    case = f"{publish.id} at {offset} was sent after {before_id} at {before}"
                    self.verdict.violate(SENDERS_ORDER, case)
                latest[key] = offset, publish.id

    def _check_real_time(self) -> None:
        """From the last offset back: nothing was acknowledged before it was sent at a lower one."""
        for (room, _), log in self._logs.items():
            earliest, earliest_id = float("inf"), 0
            for offset in sorted(log, reverse=True):
                id_ = log[offset]
                published = self._published.get(id_)
                if published is not None and published.at > earliest:
                    case = f"{id_} in {room} was sent after {earliest_id} was acknowledged"
                    self.verdict.violate(REAL_TIME, f"{case}, but has the lower offset {offset}")
                acknowledged = self._acknowledged.get(id_)
                # Under another epoch, it was acknowledged another time.
                if acknowledged is not None and acknowledged < earliest:
                    earliest, earliest_id = acknowledged, id_

    def _check_memory_of_rooms(self) -> None:
        """What was acknowledged in the newest epoch can be read in the end, if it is not too old."""
        quiet = max((it.at for it in self._of(Quiet)), default=0.0)
        pages: dict[str, set[int]] = defaultdict(set)
        read_at: dict[str, float] = {}
        for page in self._of(Page):
            assert isinstance(page, Page)
            if page.at >= quiet and page.epoch == self._newest.get(page.room, page.epoch):
                pages[page.room] |= set(page.offsets)
                read_at.setdefault(page.room, page.at)
        for room, offsets in pages.items():
            epoch = room, self._newest.get(room, "")
            log, oldest = self._logs.get(epoch, {}), read_at[room] - self._promises.history_seconds
            for offset in self._offsets.get(epoch, [])[-self._promises.history_size :]:
                acknowledged = self._acknowledged.get(log[offset])
                if acknowledged is None or offset in offsets or acknowledged < oldest + LAG:
                    continue
                self.verdict.violate(REMEMBERED, f"{log[offset]} at {offset} in {room}")

    # --- Clients --------------------------------------------------------------------

    def _check_clients(self) -> None:
        waiting: dict[int, dict[int, Publish]] = defaultdict(dict)
        returned: dict[int, bool] = {}
        for operation in self._operations:
            if operation.client != NOBODY:
                returned.setdefault(operation.client, False)
            match operation:
                case Publish():
                    waiting[operation.client][operation.id] = operation
                case Acknowledged():
                    waiting[operation.client].pop(operation.id, None)
                case Refused():
                    waiting[operation.client].pop(operation.id, None)
                    if operation.code != "unavailable":
                        case_ = f"{operation.id} of client {operation.client}: {operation.code}"
                        self.verdict.violate(EXPECTED, case_)
                case Disconnected():
                    waiting.pop(operation.client, None)
                case Problem():
                    case_ = f"client {operation.client} at {operation.at:.3f}: {operation.text}"
                    self.verdict.violate(EXPECTED, case_)
                case Quiet():
                    returned[operation.client] = True
                    for publish in waiting.pop(operation.client, {}).values():
                        case_ = f"{publish.id} of client {publish.client}, sent {publish.at:.3f}"
                        self.verdict.violate(ANSWERED, case_)
        for client, is_back in returned.items():
            if not is_back:
                self.verdict.violate(RETURNED, f"client {client}")


def summary(operations: Iterable[Operation]) -> dict[str, int]:
    """How many operations of each kind there are, and how many messages they delivered."""
    counts: dict[str, int] = defaultdict(int)
    for operation in operations:
        counts[type(operation).__name__] += 1
        if isinstance(operation, Messages):
            counts["deliveries"] += len(operation.offsets)
        if isinstance(operation, Joined):
            counts["recovered" if operation.recovered else "not recovered"] += 1
    return dict(counts)
