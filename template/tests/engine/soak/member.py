"""A member of a room that publishes to it, and notes what it hears."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import SystemRandom

from tests.engine.soak.light import LightClient
from tests.support.client import PATIENCE

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
    def unanswered(self) -> list[str]:
        """Its messages that were neither acknowledged nor refused."""
        return list(self._unanswered)

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


async def settle(members: Sequence[Member]) -> None:
    """Wait until everything is answered and has come to everybody, if it does."""
    rooms = {member.room for member in members}
    give_up_at = time.monotonic() + 2 * PATIENCE
    while time.monotonic() < give_up_at:
        heard = {(member.room, len(member.heard)) for member in members}
        if not any(member.unanswered for member in members) and len(heard) == len(rooms):
            return
        await asyncio.sleep(0.05)


def verify_room(room: str, members: Sequence[Member]) -> None:
    """All that the members of a room sent was answered, and came to each, once and in order."""
    closed = [member.close_code for member in members if member.closed.done()]
    assert not closed, f"{room}: {len(closed)} sockets closed, with {closed}"
    strange = [message for member in members for message in member.unexpected]
    assert not strange, f"{room}: {len(strange)} unexpected messages, first {strange[:3]}"
    unanswered = [member.unanswered for member in members if member.unanswered]
    assert not unanswered, f"{room}: without an answer: {unanswered}"
    acknowledged = set[str]().union(*(member.acknowledged for member in members))
    for member in members:
        offsets = [offset for offset, _ in member.heard]
        ids = [message for _, message in member.heard]
        missing = acknowledged - set(ids)
        assert not missing, f"{room}: {len(missing)} of {len(acknowledged)} were lost: {missing}"
        assert len(set(ids)) == len(ids), f"{room}: {len(ids) - len(set(ids))} came twice"
        assert offsets == list(range(1, len(offsets) + 1)), f"{room}: not in order: {offsets}"
        assert member.heard == members[0].heard, f"{room}: members heard different messages"
