"""The rooms of this worker: how they are entered, opened, left and closed."""

import asyncio
from weakref import WeakValueDictionary

from app.realtime.broker import Backend, BrokerUnavailable
from app.realtime.connection import Connection
from app.realtime.feed import CATCH_UP_AT_ONCE, Feed
from app.realtime.history import Past
from app.realtime.identity import OWN_ROOM
from app.realtime.metrics import RECOVERIES, ROOMS
from app.realtime.presence import PresenceTracker
from app.realtime.protocol import Error, Joined, Member, Position
from app.realtime.publisher import channel_of
from app.realtime.replays import Replays
from app.realtime.room import Room
from app.realtime.turns import Turns

RECENT = 50
"""Messages from history that a client receives when it joins without `since`."""


class JoinRequest:
    """A connection that waits to enter a room."""

    def __init__(self, connection: Connection, since: Position | None) -> None:
        self.connection = connection
        self.since = since
        self.is_given_up = False


class Rooms:
    """The rooms that have members on this worker, by the name that the worker gives them.

    A room is opened with its first member and closed with its last, under its lock. A client
    that was told `joined` receives every publication after the position named there, once
    and in order. What the subscription missed is filled in from history. If that is
    impossible, the members get `resync`.
    """

    def __init__(self, backend: Backend, presence: PresenceTracker, replays: Replays) -> None:
        self._backend = backend
        self._presence = presence
        self._replays = replays
        self._rooms: dict[str, Room] = {}
        self._feeds: dict[str, Feed] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._waiting: dict[str, list[JoinRequest]] = {}
        self._turns = Turns()
        self._catching_up = asyncio.Semaphore(CATCH_UP_AT_ONCE)

    def get(self, name: str) -> Room | None:
        return self._rooms.get(name)

    def position(self, name: str) -> Position | None:
        """What the members of a room have seen last; None without members."""
        room = self._rooms.get(name)
        return room.position if room is not None else None

    async def enter(self, name: str, connection: Connection, since: Position | None) -> None:
        """Make a connection a member, and answer it. A member receives history again."""
        # Whoever gets the lock first admits all who wait: after a deploy that is everybody.
        waiting = JoinRequest(connection, since)
        self._waiting.setdefault(name, []).append(waiting)
        try:
            async with self._lock(name):
                await asyncio.sleep(0)  # all who ask in this turn are admitted together
                if waiting in self._waiting.get(name, ()):
                    await self._admit_waiting(name)
        except BaseException:
            waiting.is_given_up = True
            others = [r for r in self._waiting.pop(name, ()) if r is not waiting]
            if others:
                self._waiting[name] = others
            raise

    async def leave(self, name: str, connection: Connection) -> None:
        """End a membership, if there is one."""
        async with self._lock(name):
            if name not in connection.rooms:
                return
            room = self._rooms[name]
            room.remove(name, connection)
            if room.name != OWN_ROOM:
                self._presence.leave(name, connection.user)
            await self._close_if_empty(name, room)

    def _lock(self, name: str) -> asyncio.Lock:
        """The lock of a room. It exists as long as somebody holds it or waits for it."""
        return self._locks.setdefault(name, asyncio.Lock())

    # --- Under the lock of the room -------------------------------------------------

    async def _admit_waiting(self, name: str) -> None:
        """Answer everybody who waits to enter a room."""
        requests = self._waiting.pop(name)
        since = [r.since for r in requests if r.since is not None]
        try:
            room, past = await self._open_with_past(name, since)
        except BrokerUnavailable:
            detail = "the room can't be entered at the moment: try again"
            shown = shown_name(name)
            for request in requests:
                self._replays.settle(request.connection, 0)
                request.connection.send(Error(code="unavailable", detail=detail, room=shown))
        except BaseException:
            # Whoever gets the lock next does it, for the others too.
            self._waiting.setdefault(name, []).extend(requests)
            raise
        else:
            self._admit(name, room, past, requests)
            await self._close_if_empty(name, room)

    async def _open_with_past(self, name: str, since: list[Position]) -> tuple[Room, Past]:
        """A room, and what it remembers at this moment, back to `since` where possible."""
        channel = channel_of(name)
        while (room := self._rooms.get(name)) is not None:
            seen = room.position
            with room.recording():
                # After an outage, the room itself may be behind.
                history = await self._backend.history(
                    channel, last=RECENT, after=[seen, *since], seen=seen
                )
                if room.position.epoch == seen.epoch:
                    room.fill(history)
                if room.position.epoch == history.position.epoch:
                    return room, room.past(history)
            # The room began a new epoch in the meantime: read again.
        feed = Feed(self._backend, channel, lambda: self._lock(name), self._catching_up)
        history = await feed.open(RECENT, since)
        room = Room(shown_name(name), history.position, self._turns)
        self._rooms[name], self._feeds[name] = room, feed
        ROOMS.inc()
        with room.recording():
            feed.start(room)  # what came while history was read belongs to the past too
            return room, room.past(history)

    def _admit(self, name: str, room: Room, past: Past, requests: list[JoinRequest]) -> None:
        """Make members, and answer them with what they missed, without waiting in between."""
        present = [r for r in requests if not (r.is_given_up or r.connection.is_closing)]
        if room.name != OWN_ROOM:
            new = [r.connection.user for r in present if r.connection not in room.members]
            self._presence.join(name, new)
        room.flush()  # the new members receive this as part of history
        for request in present:
            connection, since = request.connection, request.since
            room.add(name, connection)
            missed = past.since(since) if since is not None else None
            if since is not None:
                RECOVERIES.labels("lost" if missed is None else "recovered").inc()
            connection.send(self._joined(name, room, connection, recovered=missed is not None))
            replay = past.last(RECENT) if since is None else missed or []
            connection.replay(replay)
            self._replays.settle(connection, sum(len(frames.wire) for frames in replay))

    def _joined(self, name: str, room: Room, connection: Connection, *, recovered: bool) -> Joined:
        members: list[Member] | None = [Member.of(connection.user)]
        count = 1
        if room.name != OWN_ROOM:
            members, count = self._presence.shown(name), self._presence.count(name)
        return Joined(
            room=room.name,
            epoch=room.position.epoch,
            offset=room.position.offset,
            recovered=recovered,
            count=count,
            members=members,
        )

    async def _close_if_empty(self, name: str, room: Room) -> None:
        if not room.members:
            del self._rooms[name]
            ROOMS.dec()
            await self._feeds.pop(name).close()


def key_of(room: str, connection: Connection) -> str:
    """What this worker calls the room that a client names."""
    return connection.user.room if room == OWN_ROOM else room


def shown_name(name: str) -> str:
    """What clients call a room."""
    return OWN_ROOM if name.startswith("@") else name
