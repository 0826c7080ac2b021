"""A server with one room, which misbehaves at random, and what its client must have received.

It keeps what a server promises: a room's messages have growing offsets, the same id is
published once, and whoever lost something gets `resync` or loses the connection.
"""

import asyncio
import random
from collections.abc import Sequence

from websockets.exceptions import ConnectionClosed

from tests.engine.client.python.scripted import JSON, OTHER, USER, Peer, message

CODES = [1001, 1011, 1012, 1013, 4000]
"""After which a client connects again."""

RECENT = 5
HEARTBEAT = 0.15


class Model:
    """The room, and all the sockets of one client."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311
        self.log: list[JSON] = []
        """Every message that was published, also those that are forgotten."""
        self.is_calm = False
        """Whether it behaves."""
        self._epoch = 0
        self._offset = 0
        self._first = 0
        """Where in the log the history begins."""
        self._epoch_began = 0
        self._sockets: dict[Peer, bool] = {}
        """Each with whether it is a member."""

    def happens(self, chance: float) -> bool:
        return not self.is_calm and self.random.random() < chance

    # --- What the room does ---------------------------------------------------------

    async def publish(self, id: str, text: str, sender: JSON) -> None:  # noqa: A002
        """Publish to all members."""
        self._offset += self.random.randint(1, 3)
        frame = {**message(self._offset, id, sender=sender, text=text), "epoch": str(self._epoch)}
        self.log.append(frame)
        for peer, is_member in [*self._sockets.items()]:
            if is_member:
                await self._deliver(peer, frame)
        if self.happens(0.02):
            await self._forget()

    async def _acknowledge(self, peer: Peer, id: str) -> None:  # noqa: A002
        """The answer to a message that was published before."""
        for frame in self.log[self._first :]:
            if frame["id"] == id:
                await peer.send("message", **frame)
                return
        detail = "id: another message in this room has it"
        await peer.send("error", code="invalid", detail=detail, room="r", ref=id)

    async def _deliver(self, peer: Peer, frame: JSON) -> None:
        """A live message, unless something happens to it."""
        if self.happens(0.05):
            await self._lose(peer)
            return
        await peer.send("message", **frame)
        if self.happens(0.1):
            await peer.send("message", **frame)  # twice
        if self.happens(0.1):
            await peer.send("message", **self.random.choice(self.log[self._epoch_began :][-3:]))
        await self._end_some(peer, 0.04)

    async def _lose(self, peer: Peer) -> None:
        """Messages are missing on a socket."""
        self._sockets[peer] = False
        await peer.send("resync", room="r", epoch=str(self._epoch), offset=self._offset)

    async def _end_some(self, peer: Peer, chance: float) -> None:
        if self.happens(chance):
            self._sockets.pop(peer, None)
            if self.happens(0.5):
                peer.abort()
            elif self.happens(0.7):
                await peer.socket.close(self.random.choice(CODES))
            # else it is silent from now on

    async def _forget(self) -> None:
        """Lose history, or begin another epoch."""
        self._first = max(self._first, len(self.log) - self.random.randint(0, 3))
        if self.happens(0.5):
            self._epoch += 1
            self._offset = 0
            self._first = self._epoch_began = len(self.log)
            for peer, is_member in [*self._sockets.items()]:
                if is_member:
                    await self._lose(peer)

    # --- What a client asks for -----------------------------------------------------

    async def serve(self, peer: Peer) -> None:
        """Serve one socket until it ends."""
        await peer.welcome(heartbeat=HEARTBEAT)
        self._sockets[peer] = False
        try:
            while True:
                frame = await peer.receive()
                if peer in self._sockets:
                    await self._answer(peer, frame)
        except ConnectionClosed:
            self._sockets.pop(peer, None)

    async def _answer(self, peer: Peer, frame: JSON) -> None:
        ref = {"ref": frame["id"]} if "id" in frame else {}
        room = {"room": frame["room"]} if "room" in frame else {}
        if self.happens(0.05):
            await peer.send("error", code="rate_limited", detail="slow down", **room, **ref)
        elif frame["type"] == "ping":
            await peer.send("pong")
        elif frame["type"] == "join":
            await self._join(peer, frame.get("since"))
        elif frame["type"] == "publish" and not self._sockets[peer]:
            await peer.send("error", code="not_joined", detail="join first", **room, **ref)
        elif frame["type"] == "publish" and any(it["id"] == frame["id"] for it in self.log):
            await self._acknowledge(peer, frame["id"])
        elif frame["type"] == "publish":
            await self.publish(frame["id"], frame["data"]["text"], USER)

    async def _join(self, peer: Peer, since: JSON | None) -> None:
        if self.happens(0.1):  # a message of before is late
            await peer.send("message", **(self.log[-1:] or [message(1, "never")])[0])
        if self.happens(0.05):
            await peer.send("error", code="unavailable", detail="try again", room="r")
            return
        replay, recovered = self._replay(since)
        await peer.joined(epoch=str(self._epoch), offset=self._offset, recovered=recovered)
        self._sockets[peer] = True
        for frame in [*replay]:
            await peer.send("message", **frame)
            await self._end_some(peer, 0.03)
            if peer not in self._sockets:
                return

    def _replay(self, since: JSON | None) -> tuple[Sequence[JSON], bool]:
        """What is replayed since a position, and whether that is everything."""
        history = self.log[self._first :]
        if since is None:
            return history[-RECENT:], False
        forgotten = self.log[self._epoch_began : self._first]
        is_here = since["epoch"] == str(self._epoch) and since["offset"] <= self._offset
        if not is_here or any(it["offset"] > since["offset"] for it in forgotten):
            return [], False
        return [it for it in history if it["offset"] > since["offset"]], True


GAP = None
"""Stands in what a reader received for MessagesMissed."""


def check(log: Sequence[JSON], received: Sequence[str | None]) -> None:
    """The reader got every message once and in order, or was told where some are missing."""
    places = {frame["id"]: place for place, frame in enumerate(log)}
    assert len(places) == len(log), "an id was published twice"
    here: int | None = None
    has_gap = False
    for id in received:  # noqa: A001
        if id is GAP:
            has_gap = True
            continue
        place = places[id]
        if here is not None:
            assert place > here, f"message {place} came after message {here}"
            assert has_gap or place == here + 1, f"nothing said that {here + 1} is missing"
        here, has_gap = place, False
    assert here == len(log) - 1, f"the last message is {len(log) - 1}, not {here}"


async def publish_others(model: Model, count: int) -> None:
    """Messages of another user."""
    for number in range(count):
        await model.publish(f"other-{number}", str(number), OTHER)
        await asyncio.sleep(model.random.choice([0, 0, 0.002, 0.01]))
