"""What a client knows of itself: where it connects, which rooms it wants to be in."""

import asyncio
from dataclasses import dataclass

from scripts.soak.history import Messages, Operation


class Recorder:
    """The operations of all clients of a process."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.refused_handshakes: dict[str, int] = {}
        """By reason."""

    def add(self, operation: Operation) -> None:
        self.operations.append(operation)


@dataclass(slots=True)
class Membership:
    """A room that a client wants to be in."""

    room: str
    position: tuple[str, int] | None = None
    """Where the client stands, if it knows."""
    epoch: str = ""
    is_in: bool = False
    has_asked: bool = False
    messages: Messages | None = None
    """What arrives is added to it."""
    asked_for: int = -1
    """The offset that the last join named; -1 if it named none."""
    last: int = -1
    """The offset up to which everything due has arrived; -1 if that is not known yet."""


@dataclass(slots=True)
class Place:
    """Where clients connect, and as whom."""

    port: int
    address: str
    cookie: str
    handshakes: asyncio.Semaphore
    """How many of this process may be under way at a time."""
