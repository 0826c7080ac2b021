"""Splits the history of each client into stays: one membership of a room, without a gap."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

from scripts.soak.history import (
    Connected,
    Disconnected,
    Join,
    Joined,
    Left,
    Messages,
    Operation,
    Quiet,
    Resync,
    numbers,
)


@dataclass(slots=True)
class Stay:
    """What a client received of a room after `joined` or `resync`."""

    client: int
    room: str
    at: float
    """When it began."""
    epoch: str
    joined: int
    """The offset that `joined` or `resync` named."""
    after: int | None
    """Every message after this offset is due. None: the most recent ones, and all live ones."""
    offsets: "array[int]" = field(default_factory=numbers)
    ids: "array[int]" = field(default_factory=numbers)
    is_complete: bool = False
    """Whether everything that was published until the end had to arrive."""

    @property
    def last(self) -> int:
        return self.offsets[-1] if self.offsets else self.joined

    def __str__(self) -> str:
        return f"client {self.client} in {self.room} (joined {self.at:.3f} at {self.joined})"


@dataclass(slots=True)
class Gap:
    """The server told a client that messages between two positions are lost to it."""

    client: int
    room: str
    at: float
    told: str
    """`resync`, or `recovered: false`."""
    old_epoch: str
    after: int
    epoch: str

    def __str__(self) -> str:
        return f"client {self.client} in {self.room} at {self.at:.3f}: {self.told}"


class Stays:
    """All stays and gaps of a history."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self.all: list[Stay] = []
        self.gaps: list[Gap] = []
        self.violations: list[tuple[str, str]] = []
        """A rule, and how it was broken."""
        self._open: dict[int, dict[str, Stay]] = {}
        self._asked: dict[tuple[int, str], Join] = {}
        for operation in operations:
            self._take(operation)

    def _take(self, operation: Operation) -> None:
        match operation:
            case Connected() | Disconnected():
                self._open.pop(operation.client, None)
            case Join():
                self._asked[operation.client, operation.room] = operation
            case Joined():
                self._enter(operation)
            case Resync():
                self._skip(operation)
            case Messages():
                self._receive(operation)
            case Left():
                self._open.get(operation.client, {}).pop(operation.room, None)
            case Quiet():
                for stay in self._open.get(operation.client, {}).values():
                    stay.is_complete = True

    def _enter(self, joined: Joined) -> None:
        asked = self._asked.pop((joined.client, joined.room), None)
        after: int | None = joined.offset
        if asked is None:
            self._violate("an answer has a question", joined, "`joined` without `join`")
        elif asked.epoch is None:
            after = None
        elif not joined.recovered:
            self._tell("recovered: false", joined, asked.epoch, asked.offset)
        elif asked.epoch != joined.epoch:
            self._violate("positions are of one epoch", joined, f"recovered from {asked.epoch}")
        else:
            after = asked.offset
        self._begin(joined, after)

    def _skip(self, resync: Resync) -> None:
        stay = self._open.get(resync.client, {}).get(resync.room)
        if stay is None:
            self._violate("only members receive messages", resync, "`resync` outside of a stay")
            return
        self._tell("resync", resync, stay.epoch, stay.last)
        self._begin(resync, resync.offset)

    def _begin(self, start: Joined | Resync, after: int | None) -> None:
        stay = Stay(start.client, start.room, start.at, start.epoch, start.offset, after)
        self.all.append(stay)
        self._open.setdefault(start.client, {})[start.room] = stay

    def _receive(self, messages: Messages) -> None:
        stay = self._open.get(messages.client, {}).get(messages.room)
        if stay is None:
            ids = list(messages.ids[:5])
            self._violate("only members receive messages", messages, f"{ids} outside of a stay")
            return
        stay.offsets.extend(messages.offsets)
        stay.ids.extend(messages.ids)

    def _tell(self, told: str, start: Joined | Resync, old_epoch: str, after: int) -> None:
        gap = Gap(start.client, start.room, start.at, told, old_epoch, after, start.epoch)
        self.gaps.append(gap)

    def _violate(self, rule: str, operation: Joined | Resync | Messages, what: str) -> None:
        where = f"client {operation.client} in {operation.room} at {operation.at:.3f}"
        self.violations.append((rule, f"{where}: {what}"))
