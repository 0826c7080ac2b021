"""Visitors of a room: they join and leave, and record what they receive."""

import asyncio
import json
import secrets
from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass, field
from random import SystemRandom
from typing import Any

from tests.engine.soak.light import LightClient
from tests.support.client import PATIENCE

CHANCE = SystemRandom()

HURRIED = 0.3
"""The share of visits that leave without waiting for `joined`."""


RECENT = 50
"""Messages that a first join receives at most."""


@dataclass
class Visit:
    """One join and what followed."""

    since: int | None
    """The offset that it named."""
    joined_at: int = 0
    """The offset that `joined` named."""
    offsets: list[int] = field(default_factory=list)
    """Of the messages that it received."""


class Visitor(LightClient):
    """Visits one room again and again, and receives nothing but its messages."""

    def __init__(self, room: str) -> None:
        super().__init__()
        self.room = room
        self.visits: list[Visit] = []
        self.is_in = False
        self.faults: list[str] = []
        self.awaited: set[str] = set()
        """The ids that were published since `joined`, and have not arrived yet."""
        self._position: dict[str, Any] | None = None
        self._has_joined = asyncio.Event()
        self._has_left = asyncio.Event()

    def on_text(self, payload: bytes) -> None:
        if payload.startswith(b'{"type":"presence"'):
            return
        message = json.loads(payload)
        match message["type"]:
            case "message":
                self._receive(message["offset"])
                self.awaited.discard(message["id"])
            case "joined":
                self._enter(message)
            case "left":
                self._has_left.set()
            case "welcome":
                pass
            case _:
                self.faults.append(payload.decode())

    def _enter(self, joined: dict[str, Any]) -> None:
        visit = self.visits[-1]
        if visit.since is not None and not joined["recovered"]:
            self.faults.append(f"not recovered: {joined}")
        visit.joined_at = joined["offset"]
        self._position = {"epoch": joined["epoch"], "offset": joined["offset"]}
        self._has_joined.set()

    def _receive(self, offset: int) -> None:
        if self._has_left.is_set() or not self._has_joined.is_set():
            self.faults.append(f"{offset} came outside of a visit")
            return
        self.visits[-1].offsets.append(offset)
        if self._position is not None:
            self._position["offset"] = max(self._position["offset"], offset)

    async def visit(self, others: Collection["Visitor"], longest: float) -> None:
        """Join, publish, stay for up to `longest` seconds, and leave when all has arrived."""
        self._has_joined.clear()
        self._has_left.clear()
        since = self._position if CHANCE.random() < 0.5 else None
        self.visits.append(Visit(since["offset"] if since is not None else None))
        self.send(type="join", room=self.room, **({"since": since} if since else {}))
        if CHANCE.random() >= HURRIED:
            async with asyncio.timeout(PATIENCE):
                await self._has_joined.wait()
            self.is_in = True
            self.publish_to([*others, self], secrets.token_hex(8))
            await asyncio.sleep(CHANCE.uniform(0, longest))
            self.is_in = False
            await self._wait_for_all()
        self.send(type="leave", room=self.room)
        async with asyncio.timeout(PATIENCE):
            await self._has_left.wait()

    def publish_to(self, visitors: Collection["Visitor"], name: str) -> None:
        """Publish a message, which has to reach all who are in the room now."""
        for visitor in visitors:
            if visitor.is_in:
                visitor.awaited.add(name)
        self.publish(self.room, name, "who is here?")

    async def _wait_for_all(self) -> None:
        """Wait for the messages that were published until now."""
        give_up_at = asyncio.get_running_loop().time() + PATIENCE
        while self.awaited:
            if asyncio.get_running_loop().time() > give_up_at:
                self.faults.append(f"did not arrive: {self.awaited}")
                self.awaited.clear()
            await asyncio.sleep(0.005)


def faults_in_visits(visitors: Collection[Visitor]) -> list[str]:
    """Visits in which messages were lost, duplicated or out of order.

    The messages of the room are those that anybody received. A message that nobody received
    is a fault of its publisher, who waits for it.
    """
    visits = [visit for visitor in visitors for visit in visitor.visits]
    offsets = sorted({offset for visit in visits for offset in visit.offsets})
    return [
        f"since {visit.since}, joined at {visit.joined_at}, received {visit.offsets}"
        for visit in visits
        if visit.offsets != expected_in(visit, offsets)
    ]


def expected_in(visit: Visit, offsets: list[int]) -> list[int]:
    """What a visit had to receive, of all messages of the room, up to its last one."""
    joined_at = bisect_right(offsets, visit.joined_at)
    start = max(0, joined_at - RECENT)
    if visit.since is not None:
        start = bisect_right(offsets, visit.since)
    last = max(visit.offsets, default=0)
    return offsets[start : max(joined_at, bisect_right(offsets, last))]
