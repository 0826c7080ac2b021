"""Visitors of a room: they come and leave, and check what they hear meanwhile."""

import asyncio
import json
import secrets
from collections.abc import Collection
from random import SystemRandom
from typing import Any

from tests.engine.soak.light import LightClient
from tests.support.client import PATIENCE

CHANCE = SystemRandom()

HURRIED = 0.3
"""The share of visits that leave without waiting for `joined`."""


class Visitor(LightClient):
    """Visits one room, where each of its messages has to come, and nothing else."""

    def __init__(self, room: str) -> None:
        super().__init__()
        self.room = room
        self.visits = 0
        self.is_in = False
        self.faults: list[str] = []
        self.awaited: set[str] = set()
        """What was published since `joined`, and did not come yet."""
        self._position: dict[str, Any] | None = None
        self._next_offset: int | None = None
        self._joined_at = 0
        self._has_joined = asyncio.Event()
        self._has_left = asyncio.Event()

    def on_text(self, payload: bytes) -> None:
        if payload.startswith(b'{"type":"presence"'):
            return
        message = json.loads(payload)
        match message["type"]:
            case "message":
                self._hear(message["offset"])
                self.awaited.discard(message["id"])
            case "joined":
                self._enter(message)
            case "left":
                self._leave()
            case "welcome":
                pass
            case _:
                self.faults.append(payload.decode())

    def _enter(self, joined: dict[str, Any]) -> None:
        if self._next_offset is not None and not joined["recovered"]:
            self.faults.append(f"not recovered: {joined}")
        self._joined_at = joined["offset"]
        self._position = {"epoch": joined["epoch"], "offset": joined["offset"]}
        self._has_joined.set()

    def _leave(self) -> None:
        if self._joined_at and (self._next_offset or 0) <= self._joined_at:
            self.faults.append(f"{self._joined_at} did not come, nor what was before it")
        self._has_left.set()

    def _hear(self, offset: int) -> None:
        if self._has_left.is_set() or not self._has_joined.is_set():
            self.faults.append(f"{offset} came to one who was not there")
        if self._next_offset not in (None, offset):
            self.faults.append(f"{offset} came instead of {self._next_offset}")
        self._next_offset = offset + 1
        if self._position is not None:
            self._position["offset"] = max(self._position["offset"], offset)

    async def visit(self, others: Collection["Visitor"], longest: float) -> None:
        """Join, publish, stay for up to `longest` seconds, and leave when all has come."""
        self.visits += 1
        self._has_joined.clear()
        self._has_left.clear()
        since = self._position if CHANCE.random() < 0.5 else None
        self._next_offset = since["offset"] + 1 if since is not None else None
        self.send(type="join", room=self.room, **({"since": since} if since else {}))
        if CHANCE.random() >= HURRIED:
            async with asyncio.timeout(PATIENCE):
                await self._has_joined.wait()
            self.is_in = True
            self.publish([*others, self], secrets.token_hex(8))
            await asyncio.sleep(CHANCE.uniform(0, longest))
            self.is_in = False
            await self._all_came()
        self.send(type="leave", room=self.room)
        async with asyncio.timeout(PATIENCE):
            await self._has_left.wait()

    def publish(self, visitors: Collection["Visitor"], name: str) -> None:
        """Send a message, which is to come to all who are in by now."""
        for visitor in visitors:
            if visitor.is_in:
                visitor.awaited.add(name)
        self.send(type="publish", room=self.room, id=name, text="who is here?")

    async def _all_came(self) -> None:
        """Wait for what was published until now."""
        give_up_at = asyncio.get_running_loop().time() + PATIENCE
        while self.awaited:
            if asyncio.get_running_loop().time() > give_up_at:
                self.faults.append(f"did not come: {self.awaited}")
                self.awaited.clear()
            await asyncio.sleep(0.005)
