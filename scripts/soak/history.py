"""What is recorded during a soak: operations of clients, and faults.

Each process of clients writes a file with one JSON object a line. The operations of a client
are in their order there. Times are those of the monotonic clock, which all processes of a
machine share.
"""

import json
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

NOBODY = -1
"""The client of an operation that is a fault."""


def numbers() -> "array[int]":
    """An empty array of 64-bit integers: a long list of messages takes 16 bytes for each."""
    return array("q")


@dataclass(slots=True)
class Operation:
    """Something that a client did or observed."""

    at: float
    """Seconds."""
    client: int


@dataclass(slots=True)
class Connected(Operation):
    connection: int
    """How many connections the client has had before."""


@dataclass(slots=True)
class Disconnected(Operation):
    code: int | None = None
    """The close code that the server sent, if it sent one."""


@dataclass(slots=True)
class Join(Operation):
    room: str
    epoch: str | None = None
    """With `offset`, the position that the client named as `since`."""
    offset: int = 0


@dataclass(slots=True)
class Joined(Operation):
    room: str
    epoch: str
    offset: int
    recovered: bool


@dataclass(slots=True)
class Resync(Operation):
    room: str
    epoch: str
    offset: int


@dataclass(slots=True)
class Left(Operation):
    room: str


@dataclass(slots=True)
class Messages(Operation):
    """Messages that came one after the other, with nothing else about the room in between."""

    room: str
    offsets: "array[int]" = field(default_factory=numbers)
    ids: "array[int]" = field(default_factory=numbers)


@dataclass(slots=True)
class Publish(Operation):
    """A message was sent. An id that is sent again is the same message."""

    room: str
    id: int
    connection: int


@dataclass(slots=True)
class Acknowledged(Operation):
    """A publisher received its own message."""

    room: str
    id: int
    epoch: str
    offset: int


@dataclass(slots=True)
class Refused(Operation):
    """A publisher received an error, so it does not know whether the message was published."""

    id: int
    code: str


@dataclass(slots=True)
class Page(Operation):
    """What a room remembers, as `history` answered."""

    room: str
    epoch: str
    complete: bool
    offsets: "array[int]" = field(default_factory=numbers)
    ids: "array[int]" = field(default_factory=numbers)


@dataclass(slots=True)
class Problem(Operation):
    """Something that must never happen."""

    text: str


@dataclass(slots=True)
class Quiet(Operation):
    """The client is connected, and nothing was published for a while. All must have arrived."""


@dataclass(slots=True)
class Fault(Operation):
    """A fault that was injected."""

    kind: str
    seconds: float = 0.0
    """How long it lasted. 0 for what happens in a moment."""


KINDS: dict[str, type[Operation]] = {
    kind.__name__: kind
    for kind in (
        *(Connected, Disconnected, Join, Joined, Resync, Left, Messages, Publish),
        *(Acknowledged, Refused, Page, Problem, Quiet, Fault),
    )
}


def write(path: Path, operations: Iterable[Operation]) -> None:
    """Write operations to a file."""
    with path.open("w") as file:
        for operation in operations:
            fields = asdict(operation)
            for name, value in fields.items():
                if isinstance(value, array):
                    fields[name] = value.tolist()
            file.write(json.dumps({"op": type(operation).__name__, **fields}) + "\n")


def read(path: Path) -> Iterator[Operation]:
    """Read what `write` wrote."""
    with path.open() as file:
        for line in file:
            fields = json.loads(line)
            kind = KINDS[fields.pop("op")]
            for name, value in fields.items():
                if isinstance(value, list):
                    fields[name] = array("q", value)
            yield kind(**fields)
