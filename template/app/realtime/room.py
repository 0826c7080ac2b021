"""A room as one worker sees it: its members, its position, and what goes out to them."""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from app.realtime.broker import History, Publication
from app.realtime.connection import Connection, SignalKey
from app.realtime.frames import Frames, encode, frame, join_frames
from app.realtime.history import Delivery, Past, deliveries_of
from app.realtime.metrics import DELIVERIES, DELIVERY_SECONDS, POISON
from app.realtime.payloads import (
    MalformedBody,
    message_json,
    read_publication,
    read_signal,
    signal_json,
)
from app.realtime.protocol import Position, Resync, ServerMessage
from app.realtime.turns import Turns

logger = logging.getLogger(__name__)


class PendingSignal(NamedTuple):
    """What is known of a pending frame that is a signal."""

    key: SignalKey
    connection: str
    """The id of the connection that sent it, which does not receive it; "" for none."""


class Room:
    """A room that has members on this worker.

    Everything that members receive goes through here, and this is the hot path. A
    publication is encoded once, frames that come at about the same time are joined into one
    piece of bytes, and each member's transport takes that piece as it is. Members that are
    behind are handled one by one. Nothing here waits for anybody.
    """

    def __init__(self, name: str, position: Position, turns: Turns | None = None) -> None:
        """Rooms that share their `turns` flush in the same callbacks of the event loop."""
        self.name = name
        """What members call it: in the room of a user, `@me`."""
        self.position = position
        """Of the last publication that was sent to the members."""
        self.members: dict[Connection, asyncio.WriteTransport | None] = {}
        """Each with its transport, ready for `flush`, while that takes frames directly."""
        self._behind: set[Connection] = set()
        """Members whose transport takes no frames at the moment."""
        self._pending: list[Frames] = []
        self._pending_signals: dict[int, PendingSignal] = {}
        """By index in `_pending`."""
        self._published_at: list[float] = []
        self._turns = turns or Turns()
        self._records = False
        self._recorded: list[Delivery] = []

    def add(self, key: str, connection: Connection) -> None:
        """Make a connection a member. `key` is what the worker calls the room."""
        connection.rooms[key] = self
        self.update(connection)

    def remove(self, key: str, connection: Connection) -> None:
        """End the membership of a connection."""
        del connection.rooms[key]
        del self.members[connection]
        self._behind.discard(connection)

    def update(self, connection: Connection) -> None:
        """Take note of whether a member's transport takes frames directly."""
        self.members[connection] = connection.transport
        if connection.transport is None:
            self._behind.add(connection)
        else:
            self._behind.discard(connection)

    def send(self, message: ServerMessage) -> None:
        """Send a message to every member, together with all else that is pending."""
        self._send_frames(encode(message))

    def signal(self, payload: str) -> None:
        """Send a signal to every member but its sender."""
        connection, separator, body = payload.partition(" ")
        try:
            if not separator:
                raise MalformedBody
            sender, event = read_signal(body)
        except MalformedBody:
            POISON.inc()
            logger.warning("skipped a malformed signal", extra={"room": self.name})
            return
        key = (self.name, sender, event)
        self._pending_signals[len(self._pending)] = PendingSignal(key, connection)
        self._send_frames(frame(signal_json(self.name, body)))

    def _send_frames(self, frames: Frames) -> None:
        if not self._pending:
            self._turns.add(self.flush)
        self._pending.append(frames)

    def flush(self) -> None:
        """Hand what is pending to the members."""
        if not self._pending:
            return
        frames = join_frames(self._pending)
        wire = frames.wire
        behind = list(self._behind)  # a write can add members, who then have this already
        if self._pending_signals:
            self._flush_with_signals(frames, behind)
        else:
            self._pending.clear()
            for transport in self.members.values():
                if transport is not None and not transport.is_closing():
                    transport.write(wire)
            for connection in behind:
                connection.send_frames(frames)
        if self._published_at:
            now = time.time()
            for published_at in self._published_at:
                # The clock of another machine may be ahead.
                DELIVERY_SECONDS.observe(max(0.0, now - published_at))
            DELIVERIES.inc(len(self._published_at) * len(self.members))
            self._published_at.clear()

    def _flush_with_signals(self, frames: Frames, behind: Sequence[Connection]) -> None:
        """As `flush`, but no connection receives its own signals.

        Members that are behind receive each frame alone, so that newer signals can replace
        older ones.
        """
        pending, signals = self._pending.copy(), self._pending_signals.copy()
        self._pending.clear()
        self._pending_signals.clear()
        senders = {signal.connection for signal in signals.values()}
        for connection, transport in self.members.items():
            if transport is None or transport.is_closing():
                continue
            if connection.id not in senders:
                transport.write(frames.wire)
                continue
            for index, one in enumerate(pending):
                signal = signals.get(index)
                if signal is None or signal.connection != connection.id:
                    connection.send_frames(one)
        for connection in behind:
            for index, one in enumerate(pending):
                signal = signals.get(index)
                if signal is None:
                    connection.send_frames(one)
                elif signal.connection != connection.id:
                    connection.send_signal(one, signal.key)

    # --- Publications, in order -----------------------------------------------------

    def deliver(self, publication: Publication) -> bool:
        """Send a publication to the members, unless they have received it before.

        False when it does not follow what they received: one before it is missing, or it
        belongs to another epoch.
        """
        position, here = publication.position, self.position
        if position.epoch != here.epoch:
            return False
        if position.offset <= here.offset:
            return True
        if publication.previous != here.offset:
            return False
        self.position = position
        body = publication.message
        try:
            sent_at = read_publication(body)
        except MalformedBody:
            POISON.inc()
            logger.warning("skipped a malformed publication", extra={"room": self.name})
            return True
        frames = frame(message_json(self.name, position.offset, body))
        self._send_frames(frames)
        self._published_at.append(sent_at)
        if self._records:
            self._recorded.append(Delivery(position.offset, frames))
        return True

    def fill(self, history: History) -> bool:
        """Send the members what they missed. If that is lost, tell them and return False."""
        position = history.position
        if position.epoch == self.position.epoch and position.offset <= self.position.offset:
            return True
        if position.epoch == self.position.epoch:
            self._pass_quiet_time(history)
        for publication in history.publications:
            self.deliver(publication)
        if self.position == position:
            return True
        self.resync(position)
        return False

    def _pass_quiet_time(self, history: History) -> None:
        """Go on to where `history` begins, if nothing was published until then."""
        start = history.reaches_back_to
        if self.position.offset < start and history.has_all_after(self.position.offset):
            self.position = Position(epoch=self.position.epoch, offset=start)

    def resync(self, position: Position) -> None:
        """Tell the members that publications before `position` are lost to them."""
        logger.warning("publications were lost", extra={"room": self.name})
        self.position = position
        self._recorded.clear()
        self.send(Resync(room=self.name, epoch=position.epoch, offset=position.offset))

    # --- The past, for those who join -----------------------------------------------

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what is delivered during the block, for `past`."""
        self._records = True
        try:
            yield
        finally:
            self._records = False
            self._recorded.clear()

    def past(self, history: History) -> Past:
        """What came up to this moment: from history, and from what was delivered since.

        `history` is what `fill` was given, or what the room began with.
        """
        deliveries = deliveries_of(self.name, history.publications)
        end = history.position.offset
        deliveries += (it for it in self._recorded if it.offset > end)
        return Past(self.position, history, deliveries)
