"""A member of a room that publishes there, and records what it receives."""

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
    """Publishes to one room, and publishes some refused messages again, under the same id."""

    def __init__(self, room: str) -> None:
        super().__init__()
        self.room = room
        self.position = {"epoch": "", "offset": 0}
        """Where the room stood when it joined."""
        self.joined = asyncio.get_running_loop().create_future()
        self.received: list[tuple[int, str]] = []
        """Offset and id of each message, in the order of their arrival."""
        self.acknowledged: set[str] = set()
        self.refused_after: list[float] = []
        """Seconds that each `unavailable` took."""
        self.unexpected: list[str] = []
        self._own: set[str] = set()
        self._sent_again: set[str] = set()
        self._unanswered: dict[str, float] = {}
        self._to_retry: list[str] = []
        self._clock = asyncio.get_running_loop().time

    def on_text(self, payload: bytes) -> None:
        message = json.loads(payload)
        match message["type"]:
            case "message":
                received = message["offset"], message["id"]
                if message["id"] in self._sent_again and received in self.received:
                    return  # the answer to a message that the room had already
                self.received.append(received)
                if message["id"] in self._own:
                    self.acknowledged.add(message["id"])
                    self._unanswered.pop(message["id"], None)
            case "error" if message["code"] == "unavailable" and message.get("ref"):
                self._refuse(message["ref"])
            case "joined":
                self.position = {name: message[name] for name in ("epoch", "offset")}
                self.joined.set_result(None)
            case "presence" | "welcome":
                pass
            case _:
                self.unexpected.append(payload.decode())

    @property
    def unanswered(self) -> list[str]:
        """The ids that were neither acknowledged nor refused."""
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
            return  # it was published after all
        if message in self._own:
            self._sent_again.add(message)
        self._own.add(message)
        self._unanswered[message] = self._clock()
        self.publish(self.room, message, f"this is {message}")

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
    """Wait until every publish is answered, and every member has received everything."""
    rooms = {member.room for member in members}
    give_up_at = time.monotonic() + 2 * PATIENCE
    while time.monotonic() < give_up_at:
        received = {(member.room, len(member.received)) for member in members}
        if not any(member.unanswered for member in members) and len(received) == len(rooms):
            return
        await asyncio.sleep(0.05)


def verify_room(room: str, members: Sequence[Member]) -> None:
    """Check that each publish was answered, and that each member received all of them in order."""
    closed = [member.close_code for member in members if member.closed.done()]
    assert not closed, f"{room}: {len(closed)} sockets closed, with {closed}"
    strange = [message for member in members for message in member.unexpected]
    assert not strange, f"{room}: {len(strange)} unexpected messages, first {strange[:3]}"
    unanswered = [member.unanswered for member in members if member.unanswered]
    assert not unanswered, f"{room}: without an answer: {unanswered}"
    acknowledged = set[str]().union(*(member.acknowledged for member in members))
    for member in members:
        offsets = [offset for offset, _ in member.received]
        ids = [message for _, message in member.received]
        missing = acknowledged - set(ids)
        assert not missing, f"{room}: {len(missing)} of {len(acknowledged)} were lost: {missing}"
        assert len(set(ids)) == len(ids), f"{room}: {len(ids) - len(set(ids))} duplicates"
        assert offsets == sorted(set(offsets)), f"{room}: not in order: {offsets}"
        assert member.received == members[0].received, (
            f"{room}: members received different messages"
        )
