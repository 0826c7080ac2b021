"""Who is in which room of this worker, and how publications reach them."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Literal, Protocol
from weakref import WeakValueDictionary

from broadcaster import Broadcast, Event

from app.realtime.broker import (
    Backend,
    BrokerUnavailable,
    History,
    IdTaken,
    Publication,
    Resubscribed,
    Subscriber,
)
from app.realtime.commands import Command, Commands
from app.realtime.connection import Connection
from app.realtime.history import Past, page_frame
from app.realtime.identity import OWN_ROOM, User
from app.realtime.metrics import (
    GAPS,
    POISON,
    PUBLICATIONS,
    PUBLICATIONS_REFUSED,
    RECOVERIES,
    ROOMS,
    SIGNALS_LOST,
)
from app.realtime.presence import PresenceTracker
from app.realtime.protocol import (
    CloseCode,
    Error,
    GetHistory,
    Join,
    Joined,
    Left,
    Member,
    Position,
    Presence,
    Publish,
    SendSignal,
)
from app.realtime.publisher import Publisher, channel_of
from app.realtime.room import Room
from app.realtime.settings import RealtimeSettings

logger = logging.getLogger(__name__)

RECENT = 50
"""Messages from history that a client receives when it joins without `since`."""

DELIVER_AT_ONCE = 100
"""Publications in a room that are handled before other tasks have their turn."""

CATCH_UP_DEADLINE = 10.0
"""Seconds after which publications that could not be read from history count as lost."""

CATCH_UP_AT_ONCE = 100
"""Rooms that read history at the same time.

After an outage all rooms have to, and the broker has `PUBLISH_DEADLINE` for an answer.
"""

MAX_UNANSWERED = 32
"""Publishes of one connection that may wait for the broker before the next one waits."""

DEFAULT_PRESENCE_PERIOD = 20.0
"""Seconds of the period in which presence is announced, where PING_INTERVAL is 0."""


class Socket(Protocol):
    """An open socket, whether it uses rooms or is one of the application's own."""

    @property
    def user(self) -> User: ...

    def close(self, code: CloseCode, reason: str) -> None: ...


class JoinRequest:
    """A connection that waits to enter a room."""

    def __init__(self, connection: Connection, since: Position | None) -> None:
        self.connection = connection
        self.since = since
        self.is_given_up = False


class ConnectionManager:
    """Brings publications from the broker to the members of their rooms.

    A room has one subscription per worker. It is opened with the room's first member and
    closed with its last, under the room's lock. A client that was told `joined` receives
    every publication after the position named there, once and in order. What the
    subscription missed is filled in from history. If that is impossible, the members get
    `resync`.

    Rooms have the names that clients use, except for `@me`: see `User.room`.
    """

    def __init__(self, backend: Backend, settings: RealtimeSettings) -> None:
        self._backend = backend
        self.broadcast = Broadcast(backend=backend)
        """For other messages between workers."""
        self.publisher = Publisher(backend, self._position_of)
        self.sockets: set[Socket] = set()
        """Every open socket of this worker."""
        self._max_rooms = settings.max_rooms_per_connection
        self._rooms: dict[str, Room] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._waiting: dict[str, list[JoinRequest]] = {}
        self._catching_up = asyncio.Semaphore(CATCH_UP_AT_ONCE)
        self.presence = PresenceTracker(
            self.broadcast, settings.ping_interval or DEFAULT_PRESENCE_PERIOD, self._notify
        )
        self._commands = Commands(backend, self.broadcast, self._carry_out)
        self._evictions: set[asyncio.Task[None]] = set()

    @property
    def broker_is_alive(self) -> bool:
        return self._backend.alive

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connect to the broker for as long as the application serves."""
        async with self.broadcast, self.presence.running(), self._commands.running():
            try:
                yield
            finally:
                await asyncio.gather(*self._evictions, return_exceptions=True)

    async def join(self, connection: Connection, request: Join) -> None:
        """Enter a room. A member receives history again."""
        name = key_of(request.room, connection)
        if (
            self._max_rooms
            and name not in connection.rooms
            and len(connection.rooms) >= self._max_rooms
        ):
            detail = f"at most {self._max_rooms} rooms at a time: leave one first"
            connection.send(Error(code="too_many_rooms", detail=detail, room=request.room))
            return
        await connection.caught_up()
        # Whoever gets the lock first admits all who wait: after a deploy that is everybody.
        waiting = JoinRequest(connection, request.since)
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

    async def leave(self, connection: Connection, room: str) -> None:
        """Leave a room."""
        name = key_of(room, connection)
        if name not in connection.rooms:
            connection.send(not_joined(room))
            return
        self._rooms[name].flush()
        await self._remove(connection, name)
        connection.send(Left(room=room))

    async def disconnect(self, connection: Connection) -> None:
        """Leave every room."""
        for name in list(connection.rooms):
            await self._remove(connection, name)

    async def publish(self, connection: Connection, request: Publish) -> None:
        """Publish to a room that the connection is in, after what it published before.

        The client receives its own message, or an error, when the broker has answered.
        This method waits for the broker only if many answers are missing already.
        """
        if request.room not in connection.rooms:
            connection.send(not_joined(request.room, request.id))
            return
        try:
            taken = self.publisher.submit(request.room, request.data, request.id, connection.user)
        except (BrokerUnavailable, IdTaken) as error:
            self._published(connection, request, error)
        else:
            if isinstance(taken, asyncio.Future):
                connection.unanswered += 1
                taken.add_done_callback(partial(self._answered, connection, request))
                if connection.unanswered > MAX_UNANSWERED:
                    await asyncio.wait([taken])
            else:
                self._published(connection, request, None)

    def signal(self, connection: Connection, request: SendSignal) -> None:
        """Send a signal to the others in a room. It is lost while the broker is away."""
        if request.room not in connection.rooms:
            connection.send(not_joined(request.room))
            return
        try:
            self.publisher.submit_signal(request.room, request.data, connection.user, connection.id)
        except BrokerUnavailable:
            SIGNALS_LOST.inc()

    async def history(self, connection: Connection, request: GetHistory) -> None:
        """Send a page of older messages, after every replay before it was taken."""
        name = key_of(request.room, connection)
        room = self._rooms.get(name)
        if room is None or name not in connection.rooms:
            connection.send(not_joined(request.room))
            return
        await connection.caught_up()
        try:
            page = await self._backend.page(
                channel_of(name), before=request.before, limit=request.limit
            )
        except BrokerUnavailable:
            detail = "history can't be read at the moment: try again"
            connection.send(Error(code="unavailable", detail=detail, room=request.room))
        else:
            connection.replay([page_frame(room.name, page)])

    def _answered(
        self,
        connection: Connection,
        request: Publish,
        taken: "asyncio.Future[Position | None]",
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
        """The lock of a room. It exists as long as somebody holds it or waits for it."""
        return self._locks.setdefault(name, asyncio.Lock())

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
        async with AsyncExitStack() as stack:
            subscriber = await stack.enter_async_context(self.broadcast.subscribe(channel))
            history = await self._backend.history(channel, last=RECENT, after=since)
            room = Room(shown_name(name), history.position)
            await stack.enter_async_context(_background(self._receive(name, room, subscriber)))
            room.subscription = stack.pop_all()
        self._rooms[name] = room
        ROOMS.inc()
        return room, room.past(history)

    def _admit(self, name: str, room: Room, past: Past, requests: list[JoinRequest]) -> None:
        """Make members, and answer them with what they missed, without waiting in between."""
        present = [r for r in requests if not (r.is_given_up or r.connection.is_closing)]
        for request in present:
            if request.connection not in room.members and room.name != OWN_ROOM:
                self.presence.join(name, request.connection.user)
        room.flush()  # the new members receive this as part of history
        members = self.presence.members(name)
        for request in present:
            connection, since = request.connection, request.since
            room.add(name, connection)
            missed = past.since(since) if since is not None else None
            if since is not None:
                RECOVERIES.labels("lost" if missed is None else "recovered").inc()
            seen = members if room.name != OWN_ROOM else [Member.of(connection.user)]
            connection.send(
                Joined(
                    room=room.name,
                    epoch=room.position.epoch,
                    offset=room.position.offset,
                    recovered=missed is not None,
                    count=len(seen),
                    members=seen,
                )
            )
            connection.replay(past.last(RECENT) if since is None else missed or [])

    async def _remove(self, connection: Connection, name: str) -> None:
        async with self._lock(name):
            if name not in connection.rooms:
                return
            room = self._rooms[name]
            room.remove(name, connection)
            if room.name != OWN_ROOM:
                self.presence.leave(name, connection.user)
            await self._close_if_empty(name, room)

    async def _close_if_empty(self, name: str, room: Room) -> None:
        if not room.members:
            del self._rooms[name]
            ROOMS.dec()
            await room.subscription.aclose()

    # --- From the broker to the members ---------------------------------------------

    async def _receive(self, name: str, room: Room, subscriber: Subscriber) -> None:
        handled = 0
        while True:
            event = await subscriber.get()
            try:
                await self._handle(name, room, event)
            except Exception:
                logger.exception("could not deliver", extra={"room": name})
            handled += 1
            if handled % DELIVER_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _handle(self, name: str, room: Room, event: Event) -> None:
        if isinstance(event, Publication):
            if room.deliver(event):
                return
            if not await self._catch_up(name, room):
                room.resync(Position(epoch=event.position.epoch, offset=event.previous))
            if not room.deliver(event):
                POISON.inc()
                logger.warning("skipped what nobody published", extra={"room": name})
        elif isinstance(event, Resubscribed):
            if not await self._catch_up(name, room):
                room.resync(room.position)
        else:
            room.signal(event.message)

    async def _catch_up(self, name: str, room: Room) -> bool:
        """Fill in what the subscription missed. False if history can't be read."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CATCH_UP_DEADLINE):
                while True:
                    with suppress(BrokerUnavailable):
                        async with self._catching_up:
                            await self._fill_in(name, room)
                        return True
                    await asyncio.sleep(random.uniform(0, 1))  # noqa: S311
        return False

    async def _fill_in(self, name: str, room: Room) -> None:
        async with self._lock(name):
            seen = room.position
            history: History = await self._backend.history(
                channel_of(name), last=0, after=[seen], seen=seen
            )
            filled = room.fill(history)
        if room.position != seen:
            GAPS.labels("filled" if filled else "resync").inc()

    def _notify(self, presence: Presence) -> None:
        room = self._rooms.get(presence.room)
        if room is not None:
            room.send(presence)

    def _position_of(self, name: str) -> Position | None:
        room = self._rooms.get(name)
        return room.position if room is not None else None

    # --- Commands of the application, on every worker -------------------------------

    def _carry_out(self, command: Command) -> None:
        sockets = [socket for socket in self.sockets if socket.user.id == command.user]
        for socket in sockets:
            if command.room is None:
                socket.close(CloseCode.FORBIDDEN, "disconnected by the application")
            elif isinstance(socket, Connection) and command.room in socket.rooms:
                eviction = asyncio.create_task(self._evict(socket, command.room))
                self._evictions.add(eviction)
                eviction.add_done_callback(self._evictions.discard)

    async def _evict(self, connection: Connection, name: str) -> None:
        if name in connection.rooms:
            self._rooms[name].flush()
            await self._remove(connection, name)
            connection.send(Left(room=shown_name(name), reason="evicted"))


def key_of(room: str, connection: Connection) -> str:
    """What this worker calls the room that a client names."""
    return connection.user.room if room == OWN_ROOM else room


def shown_name(name: str) -> str:
    """What clients call a room."""
    return OWN_ROOM if name.startswith("@") else name


def not_joined(room: str, ref: str | None = None) -> Error:
    return Error(code="not_joined", detail="join the room first", room=room, ref=ref)


@asynccontextmanager
async def _background(coroutine: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run a coroutine during the block, and end it with the block."""
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
