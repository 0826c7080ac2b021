"""Who is in which room of this worker, and how publications get to them."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Literal
from weakref import WeakValueDictionary

from broadcaster import Broadcast, Event
from fastapi import Depends
from fastapi.requests import HTTPConnection

from app.broker import (
    Backend,
    BrokerUnavailable,
    IdTaken,
    Publication,
    Record,
    Resubscribed,
    Subscriber,
)
from app.connection import Connection
from app.metrics import GAPS, POISON, PUBLICATIONS, PUBLICATIONS_REFUSED, RECOVERIES, ROOMS
from app.presence import PresenceTracker
from app.protocol import Error, Join, Joined, Left, Position, Presence, Publish, to_json
from app.room import Body, Past, Room
from app.settings import Settings

logger = logging.getLogger(__name__)

RECENT = 50
"""Messages of the past that who joins without `since` gets."""

DELIVER_AT_ONCE = 100
"""Publications in a room that are handled before others have their turn."""

CATCH_UP_DEADLINE = 10.0
"""Seconds after which what could not be read from history counts as lost."""

CATCH_UP_AT_ONCE = 100
"""Rooms that are filled in from history at the same time.

After an outage it is all of them, and the broker has `PUBLISH_DEADLINE` for an answer.
"""

MAX_UNANSWERED = 32
"""Publishes of one connection that the broker may have before the next has to wait."""

DEFAULT_PRESENCE_PERIOD = 20.0
"""Seconds of the period in which presence is announced, where PING_INTERVAL is 0."""


class JoinRequest:
    """A connection that waits to be in a room."""

    def __init__(self, connection: Connection, since: Position | None) -> None:
        self.connection = connection
        self.since = since
        self.is_given_up = False


class ConnectionManager:
    """Brings publications from the broker to the members of their rooms.

    A room has one subscription per worker. It is opened with the room's first member
    and closed with its last, under the room's lock. Whoever is told `joined` receives
    every publication after the position named there, each once and in order. What the
    subscription did not bring is filled in from history; where that can't be, the
    members get `resync`.
    """

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self._backend = backend
        self.broadcast = Broadcast(backend=backend)
        """For what else workers tell each other."""
        self._max_rooms = settings.max_rooms_per_connection
        self._rooms: dict[str, Room] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._waiting: dict[str, list[JoinRequest]] = {}
        self._catching_up = asyncio.Semaphore(CATCH_UP_AT_ONCE)
        self._presence = PresenceTracker(
            self.broadcast, settings.ping_interval or DEFAULT_PRESENCE_PERIOD, self._notify
        )

    @property
    def broker_is_alive(self) -> bool:
        return self._backend.alive

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connect to the broker for as long as the application serves."""
        async with self.broadcast, self._presence.running():
            yield

    async def join(self, connection: Connection, request: Join) -> None:
        """Enter a room, or, as a member, ask for the past again."""
        name = request.room
        if (
            self._max_rooms
            and name not in connection.rooms
            and len(connection.rooms) >= self._max_rooms
        ):
            detail = f"at most {self._max_rooms} rooms at a time: leave one first"
            connection.send(Error(code="too_many_rooms", detail=detail, room=name))
            return
        await connection.caught_up()
        # Whoever has the lock first lets in all who wait: after a deploy that is everybody.
        waiting = JoinRequest(connection, request.since)
        self._waiting.setdefault(name, []).append(waiting)
        try:
            async with self._lock(name):
                await asyncio.sleep(0)  # all who ask in this turn are let in together
                if waiting in self._waiting.get(name, ()):
                    await self._let_in(name)
        except BaseException:
            waiting.is_given_up = True
            others = [r for r in self._waiting.pop(name, ()) if r is not waiting]
            if others:
                self._waiting[name] = others
            raise

    async def leave(self, connection: Connection, name: str) -> None:
        """Leave a room."""
        if name not in connection.rooms:
            connection.send(not_joined(name))
            return
        self._rooms[name].flush()
        await self._remove(connection, name)
        connection.send(Left(room=name))

    async def disconnect(self, connection: Connection) -> None:
        """Leave every room."""
        for name in list(connection.rooms):
            await self._remove(connection, name)

    async def publish(self, connection: Connection, request: Publish) -> None:
        """Publish to a room that the connection is in, after what it published before.

        It hears its own message, or an error, when the broker has answered; that is
        waited for only when there are many already.
        """
        if request.room not in connection.rooms:
            connection.send(not_joined(request.room, request.id))
            return
        sender = connection.user.name
        body = Body(id=request.id, sender=sender, text=request.text, sent_at=datetime.now(UTC))
        record = Record(request.id, f"{sender} {request.text}", to_json(body).decode())
        try:
            seen = self._rooms[request.room].position
            taken = self._backend.submit(channel_of(request.room), record, seen)
        except (BrokerUnavailable, IdTaken) as error:
            self._published(connection, request, error)
        else:
            if taken is None:
                self._published(connection, request, None)
            else:
                connection.unanswered += 1
                taken.add_done_callback(partial(self._answered, connection, request))
                if connection.unanswered > MAX_UNANSWERED:
                    await asyncio.wait([taken])

    def _answered(
        self, connection: Connection, request: Publish, taken: asyncio.Future[None]
    ) -> None:
        connection.unanswered -= 1
        self._published(connection, request, taken.exception())

    def _published(
        self, connection: Connection, request: Publish, error: BaseException | None
    ) -> None:
        """Count what was taken, and tell the sender what was not."""
        code: Literal["unavailable", "invalid"]
        match error:
            case None:
                PUBLICATIONS.inc()
                return
            case IdTaken():
                code = "invalid"
                detail = "id: another message in this room has it: choose a new one"
            case BrokerUnavailable():
                code = "unavailable"
                detail = "the message could not be sent at the moment: try again"
            case _:
                raise error
        PUBLICATIONS_REFUSED.labels(code).inc()
        connection.send(Error(code=code, detail=detail, room=request.room, ref=request.id))

    # --- Rooms: opened, closed and entered under their lock -------------------------

    def _lock(self, name: str) -> asyncio.Lock:
        """The lock of a room, which lives as long as somebody holds or awaits it."""
        return self._locks.setdefault(name, asyncio.Lock())

    async def _let_in(self, name: str) -> None:
        """Answer everybody who waits to be in a room."""
        requests = self._waiting.pop(name)
        since = [r.since for r in requests if r.since is not None]
        try:
            room, past = await self._open_with_past(name, since)
        except BrokerUnavailable:
            detail = "the room can't be entered at the moment: try again"
            for request in requests:
                request.connection.send(Error(code="unavailable", detail=detail, room=name))
        except BaseException:
            # Whoever has the lock next does it, for the others too.
            self._waiting.setdefault(name, []).extend(requests)
            raise
        else:
            self._admit(room, past, requests)
            await self._close_if_empty(room)

    async def _open_with_past(self, name: str, since: list[Position]) -> tuple[Room, Past]:
        """A room, and what it remembers at this moment, back to `since` as far as it can."""
        channel = channel_of(name)
        while (room := self._rooms.get(name)) is not None:
            seen = room.position
            # The room itself may be behind, after an outage.
            needed = min([seen.offset, *self._answerable(since, seen)])
            with room.recording():
                history = await self._backend.history(channel, last=RECENT, after=needed, seen=seen)
                if room.position.epoch == seen.epoch:
                    room.fill(history)
                if room.position.epoch == seen.epoch:
                    return room, room.past(history)
            # The room began anew: what is asked for may be in the new epoch.
        async with AsyncExitStack() as stack:
            subscriber = await stack.enter_async_context(self.broadcast.subscribe(channel))
            history = await self._backend.history(channel, last=RECENT, after=None, seen=None)
            oldest = history.position.offset - len(history.publications)
            needed = min([oldest, *self._answerable(since, history.position)])
            if needed < oldest:
                history = await self._backend.history(channel, last=RECENT, after=needed, seen=None)
            room = Room(name, history.position)
            await stack.enter_async_context(_background(self._receive(room, subscriber)))
            room.subscription = stack.pop_all()
        self._rooms[name] = room
        ROOMS.inc()
        return room, room.past(history)

    def _answerable(self, since: list[Position], position: Position) -> list[int]:
        """The offsets of positions that history may reach back to.

        For others it is not asked: anybody can name one that would need all of it.
        """
        oldest = position.offset - self._backend.history_size
        return [s.offset for s in since if s.epoch == position.epoch and s.offset >= oldest]

    def _admit(self, room: Room, past: Past, requests: list[JoinRequest]) -> None:
        """Make members, in one go with answering them and with what they missed."""
        present = [r for r in requests if not (r.is_given_up or r.connection.is_closing)]
        for request in present:
            if request.connection not in room.members:
                self._presence.join(room.name, request.connection.user.name)
        room.flush()  # what came until now, they get as the past
        members = self._presence.members(room.name)
        for request in present:
            connection, since = request.connection, request.since
            room.add(connection)
            missed = past.since(since) if since is not None else None
            if since is not None:
                RECOVERIES.labels("lost" if missed is None else "recovered").inc()
            connection.send(
                Joined(
                    room=room.name,
                    epoch=room.position.epoch,
                    offset=room.position.offset,
                    recovered=missed is not None,
                    members=members,
                )
            )
            connection.replay(past.last(RECENT) if since is None else missed or [])

    async def _remove(self, connection: Connection, name: str) -> None:
        async with self._lock(name):
            if name not in connection.rooms:
                return
            room = self._rooms[name]
            room.remove(connection)
            self._presence.leave(name, connection.user.name)
            await self._close_if_empty(room)

    async def _close_if_empty(self, room: Room) -> None:
        if not room.members:
            del self._rooms[room.name]
            ROOMS.dec()
            await room.subscription.aclose()

    # --- From the broker to the members ---------------------------------------------

    async def _receive(self, room: Room, subscriber: Subscriber) -> None:
        handled = 0
        while True:
            event = await subscriber.get()
            try:
                await self._handle(room, event)
            except Exception:
                logger.exception("could not deliver", extra={"room": room.name})
            handled += 1
            if handled % DELIVER_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _handle(self, room: Room, event: Event) -> None:
        if isinstance(event, Resubscribed):
            if not await self._catch_up(room):
                room.resync(room.position)
        elif not isinstance(event, Publication):
            POISON.inc()
            logger.warning("skipped what has no place", extra={"room": room.name})
        elif not room.deliver(event):
            if not await self._catch_up(room):
                before = Position(epoch=event.position.epoch, offset=event.position.offset - 1)
                room.resync(before)
            if not room.deliver(event):
                POISON.inc()
                logger.warning("skipped what nobody published", extra={"room": room.name})

    async def _catch_up(self, room: Room) -> bool:
        """Fill in what the subscription did not bring; False if history can't be read."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CATCH_UP_DEADLINE):
                while True:
                    with suppress(BrokerUnavailable):
                        async with self._catching_up:
                            await self._fill_in(room)
                        return True
                    await asyncio.sleep(random.uniform(0, 1))  # noqa: S311
        return False

    async def _fill_in(self, room: Room) -> None:
        async with self._lock(room.name):
            seen = room.position
            history = await self._backend.history(
                channel_of(room.name), last=0, after=seen.offset, seen=seen
            )
            filled = room.fill(history)
        if room.position != seen:
            GAPS.labels("filled" if filled else "resync").inc()

    def _notify(self, presence: Presence) -> None:
        room = self._rooms.get(presence.room)
        if room is not None:
            room.send(presence)


def channel_of(room: str) -> str:
    """The broker's channel for a room."""
    return f"room:{room}"


def not_joined(room: str, ref: str | None = None) -> Error:
    return Error(code="not_joined", detail="join the room first", room=room, ref=ref)


@asynccontextmanager
async def _background(coroutine: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run a coroutine beside the block, and end it with the block."""
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def get_manager(connection: HTTPConnection) -> ConnectionManager:
    manager: ConnectionManager = connection.app.state.manager
    return manager


Manager = Annotated[ConnectionManager, Depends(get_manager)]
