"""A member of a room that publishes to it, and notes what it hears."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import SystemRandom

from tests.client import PATIENCE
from tests.soak.light import LightClient

CHANCE = SystemRandom()

RETRIED = 0.5
"""The share of refused messages that are sent again."""


class Member(LightClient):
    """Publishes to one room, some of what was refused once more, under the same id."""

    def __init__(self, room: str) -> None:
        super().__init__()
        self.room = room
        self.epoch = ""
        self.joined = asyncio.get_running_loop().create_future()
        self.heard: list[tuple[int, str]] = []
        """Offset and id of each message, in the order in which they came."""
        self.acknowledged: set[str] = set()
        self.refused_after: list[float] = []
        """Seconds that each `unavailable` took."""
        self.unexpected: list[str] = []
        self._own: set[str] = set()
        self._unanswered: dict[str, float] = {}
        self._to_retry: list[str] = []
        self._clock = asyncio.get_running_loop().time

    def on_text(self, payload: bytes) -> None:
        message = json.loads(payload)
        match message["type"]:
            case "message":
                self.heard.append((message["offset"], message["id"]))
                if message["id"] in self._own:
                    self.acknowledged.add(message["id"])
                    self._unanswered.pop(message["id"], None)
            case "error" if message["code"] == "unavailable" and message.get("ref"):
                self._refuse(message["ref"])
            case "joined":
                self.epoch = message["epoch"]
                self.joined.set_result(None)
            case "presence" | "welcome":
                pass
            case _:
                self.unexpected.append(payload.decode())

    @property
    def is_answered(self) -> bool:
        """Whether each of its messages was acknowledged or refused."""
        return not self._unanswered

    async def join(self) -> None:
        self.send(type="join", room=self.room)
        async with asyncio.timeout(PATIENCE):
            await self.joined

    async def publish_for_ever(self, pause: float) -> None:
        """Publish, with `pause` seconds between two messages on average."""
        number = 0
        while True:
            if self._to_retry and CHANCE.random() < RETRIED:
                self._publish(self._to_retry.pop(0))
            else:
                number += 1
                self._publish(f"{id(self)}-{number}")
            await asyncio.sleep(CHANCE.uniform(0, 2 * pause))

    def _publish(self, message: str) -> None:
        if message in self.acknowledged:
            return  # it came through after all, so there will be no second answer
        self._own.add(message)
        self._unanswered[message] = self._clock()
        self.send(type="publish", room=self.room, id=message, text=f"this is {message}")

    def _refuse(self, message: str) -> None:
        sent_at = self._unanswered.pop(message, None)
        if sent_at is not None:
            self.refused_after.append(self._clock() - sent_at)
        if CHANCE.random() < RETRIED:
            self._to_retry.append(message)


@asynccontextmanager
async def publishing(members: Sequence[Member], pause: float) -> AsyncIterator[None]:
    """All of them publish during the block."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(member.publish_for_ever(pause)) for member in members]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
