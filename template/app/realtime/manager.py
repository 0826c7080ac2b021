"""What clients ask of this worker, and what the application commands it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Literal, Protocol

from broadcaster import Broadcast

from app.realtime.broker import Backend, BrokerUnavailable, IdTaken
from app.realtime.commands import Command, Commands
from app.realtime.connection import Connection
from app.realtime.history import deliveries_of, page_frame
from app.realtime.identity import User
from app.realtime.limits import Budget
from app.realtime.metrics import PUBLICATIONS, PUBLICATIONS_REFUSED, RATE_LIMITED, SIGNALS_LOST
from app.realtime.presence import PresenceTracker
from app.realtime.protocol import (
    CloseCode,
    Error,
    GetHistory,
    Join,
    Left,
    Position,
    Presence,
    Publish,
    SendSignal,
)
from app.realtime.publisher import Publisher, channel_of
from app.realtime.replays import Replays
from app.realtime.rooms import Rooms, key_of, shown_name
from app.realtime.settings import RealtimeSettings

MAX_UNANSWERED = 32
"""Publishes of one connection that may wait for the broker before the next one waits."""

NEW_ROOMS = 4
"""Of this many messages that a client may send, one may enter a room that is new here.

A room that nobody is in costs the broker a subscription and a reading of history.
"""

DEFAULT_PRESENCE_PERIOD = 20.0
"""Seconds of the period in which presence is announced, where PING_INTERVAL is 0."""


class Socket(Protocol):
    """An open socket, whether it uses rooms or is one of the application's own."""

    @property
    def user(self) -> User: ...

    def close(self, code: CloseCode, reason: str) -> None: ...


class ConnectionManager:
    """Carries out what the clients of this worker ask for.

    Rooms have the names that clients use, except for `@me`: see `User.room`.
    """

    def __init__(self, backend: Backend, settings: RealtimeSettings) -> None:
        self._backend = backend
        self.broadcast = Broadcast(backend=backend)
        """For other messages between workers."""
        self.sockets: set[Socket] = set()
        """Every open socket of this worker."""
        self._settings = settings
        self._replays = Replays(settings.replay_bytes_per_second)
        self.presence = PresenceTracker(
            self.broadcast,
            settings.ping_interval or DEFAULT_PRESENCE_PERIOD,
            settings.presence_members,
            self._tell,
        )
        self._rooms = Rooms(backend, self.presence, self._replays)
        self.publisher = Publisher(backend, self._rooms.position)
        self._commands = Commands(backend, self.broadcast, self._carry_out)
        self._tasks: set[asyncio.Task[None]] = set()

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
                await asyncio.gather(*self._tasks, return_exceptions=True)

    async def join(self, connection: Connection, request: Join) -> None:
        """Enter a room. A member receives history again."""
        name = key_of(request.room, connection)
        if name not in connection.rooms and not self._may_enter_more(connection, name, request):
            return
        if self._replays.reserve(connection, request.room):
            await connection.caught_up()
            await self._rooms.enter(name, connection, request.since)

    def _may_enter_more(self, connection: Connection, name: str, request: Join) -> bool:
        """Whether a connection may be in one more room. If not, tell the client."""
        code: Literal["too_many_rooms", "rate_limited"]
        most = self._settings.max_rooms_per_connection
        if most and len(connection.rooms) >= most:
            code, detail = "too_many_rooms", f"at most {most} rooms at a time: leave one first"
        elif self._rooms.get(name) is None and not self._may_open_room(connection):
            RATE_LIMITED.inc()
            code, detail = "rate_limited", "too many new rooms: try again in a moment"
        else:
            return True
        connection.send(Error(code=code, detail=detail, room=request.room))
        return False

    def _may_open_room(self, connection: Connection) -> bool:
        """Count a room that is new to this worker."""
        per_second = self._settings.messages_per_second
        if not per_second:
            return True
        if connection.new_rooms is None:
            connection.new_rooms = Budget(per_second / NEW_ROOMS, 2 * per_second)
        if connection.new_rooms.wait():
            return False
        connection.new_rooms.spend(1)
        return True

    async def leave(self, connection: Connection, room: str) -> None:
        """Leave a room."""
        name = key_of(room, connection)
        entered = self._rooms.get(name)
        if entered is None or name not in connection.rooms:
            connection.send(not_joined(room))
            return
        entered.flush()
        await self._rooms.leave(name, connection)
        connection.send(Left(room=room))

    async def disconnect(self, connection: Connection) -> None:
        """Leave every room."""
        self._replays.forget(connection)
        for name in list(connection.rooms):
            await self._rooms.leave(name, connection)

    async def publish(self, connection: Connection, request: Publish) -> None:
        """Publish to a room that the connection is in, after what it published before.

        The client receives its own message, or an error, when the broker has answered.
        This method waits for the broker only if many answers are missing already.
        """
        here = self._rooms.position(request.room)
        if here is None or request.room not in connection.rooms:
            connection.send(not_joined(request.room, request.id))
            return
        try:
            taken = self.publisher.submit(request.room, request.data, request.id, connection.user)
        except (BrokerUnavailable, IdTaken) as error:
            self._refused(connection, request, error)
        else:
            if isinstance(taken, asyncio.Future):
                connection.unanswered += 1
                taken.add_done_callback(partial(self._answered, connection, request, here))
                if connection.unanswered > MAX_UNANSWERED:
                    await asyncio.wait([taken])
            else:
                self._taken(connection, request, here, taken)

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
        if not self._replays.reserve(connection, request.room):
            return
        await connection.caught_up()
        size = 0
        try:
            page = await self._backend.page(
                channel_of(name), before=request.before, limit=request.limit
            )
        except BrokerUnavailable:
            detail = "history can't be read at the moment: try again"
            connection.send(Error(code="unavailable", detail=detail, room=request.room))
        else:
            frames = page_frame(room.name, page)
            size = len(frames.wire)
            connection.replay([frames])
        finally:
            self._replays.settle(connection, size)

    def _answered(
        self,
        connection: Connection,
        request: Publish,
        here: Position,
        answer: "asyncio.Future[Position | None]",
    ) -> None:
        connection.unanswered -= 1
        error = answer.exception()
        if error is None:
            self._taken(connection, request, here, answer.result())
        else:
            self._refused(connection, request, error)

    def _taken(
        self, connection: Connection, request: Publish, here: Position, taken: Position | None
    ) -> None:
        """The broker has a message, for a room that was `here` when it was published."""
        PUBLICATIONS.inc()
        if taken is not None and taken.epoch == here.epoch and taken.offset <= here.offset:
            # It was published before, so it is not delivered again.
            self._start(self._acknowledge(connection, request, taken.offset))

    async def _acknowledge(self, connection: Connection, request: Publish, offset: int) -> None:
        """Send the message at this offset to its sender alone."""
        channel = channel_of(request.room)
        try:
            page = await self._backend.page(channel, before=offset + 1, limit=1)
        except BrokerUnavailable as error:
            self._refused(connection, request, error)
            return
        for delivery in deliveries_of(request.room, page.publications):
            if delivery.offset == offset:
                connection.send_frames(delivery.frames)
                return
        # It was forgotten a moment ago, so it may be published again.
        self._refused(connection, request, BrokerUnavailable("the message was forgotten"))

    def _refused(self, connection: Connection, request: Publish, error: BaseException) -> None:
        """Tell the sender that a message was not taken."""
        code: Literal["unavailable", "invalid"]
        match error:
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

    def _start(self, work: Coroutine[None, None, None]) -> None:
        """Carry out something beside what arrives."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _tell(self, presence: Presence) -> None:
        room = self._rooms.get(presence.room)
        if room is not None:
            room.send(presence)

    # --- Commands of the application, on every worker -------------------------------

    def _carry_out(self, command: Command) -> None:
        sockets = [socket for socket in self.sockets if socket.user.id == command.user]
        for socket in sockets:
            if command.room is None:
                socket.close(CloseCode.FORBIDDEN, "disconnected by the application")
            elif isinstance(socket, Connection) and command.room in socket.rooms:
                self._start(self._evict(socket, command.room))

    async def _evict(self, connection: Connection, name: str) -> None:
        room = self._rooms.get(name)
        if room is not None and name in connection.rooms:
            room.flush()
            await self._rooms.leave(name, connection)
            connection.send(Left(room=shown_name(name), reason="evicted"))


def not_joined(room: str, ref: str | None = None) -> Error:
    return Error(code="not_joined", detail="join the room first", room=room, ref=ref)
