"""A room as one worker has it: its members, its place in the sequence, what goes out."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

from pydantic import ValidationError

from app.broker import History, Publication
from app.connection import Connection
from app.metrics import DELIVERIES, DELIVERY_SECONDS, POISON
from app.protocol import (
    Frames,
    Message,
    Model,
    Position,
    Resync,
    ServerMessage,
    encode,
    join_frames,
)

logger = logging.getLogger(__name__)

TURNS = 3
"""Turns of the event loop after which what is pending goes out.

A turn takes microseconds, and the write to a thousand members milliseconds. What the
sockets and the broker bring meanwhile goes out with it.
"""


class Body(Model):
    """What is published to the broker; the room and the offset come with it."""

    id: str
    sender: str
    text: str
    sent_at: datetime


class Delivery(NamedTuple):
    """A publication as its members get it."""

    offset: int
    frames: Frames


class Past:
    """What a room remembers, up to the position at which somebody joins."""

    def __init__(self, position: Position, first_offset: int) -> None:
        self.position = position
        self.first_offset = first_offset
        """From here on nothing is missing."""
        self.deliveries: list[Delivery] = []

    def since(self, position: Position) -> list[Frames] | None:
        """What came after a position; None when that is not known any more."""
        if position.epoch != self.position.epoch or not (
            self.first_offset - 1 <= position.offset <= self.position.offset
        ):
            return None
        return [d.frames for d in self.deliveries if d.offset > position.offset]

    def last(self, count: int) -> list[Frames]:
        """The most recent messages."""
        return [d.frames for d in self.deliveries[-count:]]


class Room:
    """A room that has members on this worker.

    Everything that members are sent goes through here, and this is the hot path: a
    publication is encoded once, what comes at about the same time is joined into one
    piece of bytes, and each member's transport takes that piece as it is. Members that
    don't keep up are looked at one by one. Nothing here waits for anybody.
    """

    def __init__(self, name: str, position: Position) -> None:
        self.name = name
        self.position = position
        """Of the last publication that went to the members."""
        self.members: dict[Connection, asyncio.WriteTransport | None] = {}
        """Each with its transport, at hand for `flush`, while it takes frames as they are."""
        self._behind: set[Connection] = set()
        """Members whose transport takes none at the moment."""
        self.subscription = AsyncExitStack()
        self._pending: list[Frames] = []
        self._published_at: list[datetime] = []
        self._records = False
        self._recorded: list[Delivery] = []

    def add(self, connection: Connection) -> None:
        """Make a connection a member."""
        connection.rooms[self.name] = self
        self.update(connection)

    def remove(self, connection: Connection) -> None:
        """Make a member none."""
        del connection.rooms[self.name]
        del self.members[connection]
        self._behind.discard(connection)

    def update(self, connection: Connection) -> None:
        """Take note of whether a member's transport takes frames as they are."""
        self.members[connection] = connection.transport
        if connection.transport is None:
            self._behind.add(connection)
        else:
            self._behind.discard(connection)

    def send(self, message: ServerMessage) -> None:
        """Send a message to every member, with all else that comes at about this time."""
        self._send_frames(encode(message))

    def _send_frames(self, frames: Frames) -> None:
        if not self._pending:
            self._flush_after(TURNS)
        self._pending.append(frames)

    def _flush_after(self, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self._flush_after, turns - 1)
        else:
            self.flush()

    def flush(self) -> None:
        """Hand what is pending to the members."""
        if not self._pending:
            return
        frames = join_frames(self._pending)
        self._pending.clear()
        wire = frames.wire
        behind = list(self._behind)  # before a write makes it more, who have this by then
        for transport in self.members.values():
            if transport is not None and not transport.is_closing():
                transport.write(wire)
        for connection in behind:
            connection.send_frames(frames)
        if self._published_at:
            now = datetime.now(UTC)
            for published_at in self._published_at:
                # The clock of another machine may be ahead.
                DELIVERY_SECONDS.observe(max(0.0, (now - published_at).total_seconds()))
            DELIVERIES.inc(len(self._published_at) * len(self.members))
            self._published_at.clear()

    # --- Publications, in order -----------------------------------------------------

    def deliver(self, publication: Publication) -> bool:
        """Send a publication to the members, unless they had it before.

        False when it does not follow what they had: one before it is missing, or it
        belongs to another epoch.
        """
        position = publication.position
        if position.epoch != self.position.epoch or position.offset > self.position.offset + 1:
            return False
        if position.offset <= self.position.offset:
            return True
        self.position = position
        message = self._read(publication)
        if message is not None:
            frames = encode(message)
            self._send_frames(frames)
            self._published_at.append(message.sent_at)
            if self._records:
                self._recorded.append(Delivery(position.offset, frames))
        return True

    def fill(self, history: History) -> bool:
        """Send the members what they missed. False when that is lost, and they are told."""
        position = history.position
        if position.epoch == self.position.epoch and position.offset <= self.position.offset:
            return True
        for publication in history.publications:
            self.deliver(publication)
        if self.position == position:
            return True
        self.resync(position)
        return False

    def resync(self, position: Position) -> None:
        """Tell the members that what was published before `position` is lost to them."""
        logger.warning("publications were lost", extra={"room": self.name})
        self.position = position
        self._recorded.clear()
        self.send(Resync(room=self.name, epoch=position.epoch, offset=position.offset))

    # --- The past, for those who join -----------------------------------------------

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Note what is delivered during the block, for `past`."""
        self._records = True
        try:
            yield
        finally:
            self._records = False
            self._recorded.clear()

    def past(self, history: History) -> Past:
        """What came up to this moment, from history and from what was delivered since.

        The history is what `fill` was given, or what the room began with.
        """
        past = Past(self.position, history.position.offset - len(history.publications) + 1)
        for publication in history.publications:
            message = self._read(publication)
            if message is not None:
                past.deliveries.append(Delivery(message.offset, encode(message)))
        past.deliveries += (d for d in self._recorded if d.offset > history.position.offset)
        return past

    def _read(self, publication: Publication) -> Message | None:
        """A publication as a message; None for what this application can't have sent."""
        # To the body's JSON; of two fields of one name the last counts.
        added = f',"type":"message","room":"{self.name}","offset":{publication.position.offset}'
        try:
            return Message.model_validate_json(publication.message[:-1] + added + "}")
        except ValidationError:
            POISON.inc()
            logger.warning("skipped what is no message", extra={"room": self.name})
            return None
