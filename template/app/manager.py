"""Which connections of this worker are in which room, and what reaches them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, cast
from weakref import WeakValueDictionary

from broadcaster import Broadcast
from fastapi import Depends
from fastapi.requests import HTTPConnection
from pydantic import ValidationError

from app.broker import Backend, BrokerUnavailable, Publication, Subscriber
from app.connection import Connection
from app.presence import PresenceTracker
from app.protocol import (
    Error,
    Join,
    Joined,
    Left,
    Message,
    Model,
    Position,
    Presence,
    Publish,
    ServerMessage,
    encode,
)
from app.settings import Settings

logger = logging.getLogger(__name__)

DEFAULT_PRESENCE_PERIOD = 20.0
"""Seconds of the period in which presence is announced, where PING_INTERVAL is 0."""


class Body(Model):
    """What is published to the broker; the room and the offset come with it."""

    id: str
    sender: str
    text: str
    sent_at: datetime


class Room:
    """A room that has members on this worker, and its one subscription."""

    def __init__(self, name: str, position: Position) -> None:
        self.name = name
        self.position = position
        """Of the last publication that went to the members."""
        self.members: set[Connection] = set()
        self.subscription = AsyncExitStack()


class ConnectionManager:
    """Brings publications from the broker to the members of their rooms.

    A room has one subscription per worker. It is opened with the room's first
    member and closed with its last, under the room's lock. Whoever is told
    `joined` receives every publication after the position named there.
    """

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self._backend = backend
        self._broadcast = Broadcast(backend=backend)
        self._max_rooms = settings.max_rooms_per_connection
        self._rooms: dict[str, Room] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._presence = PresenceTracker(
            self._broadcast, settings.ping_interval or DEFAULT_PRESENCE_PERIOD, self._notify
        )

    @property
    def broker_is_alive(self) -> bool:
        return self._backend.alive

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connect to the broker for as long as the application serves."""
        async with self._broadcast, self._presence.running():
            yield

    async def join(self, connection: Connection, request: Join) -> None:
        """Enter a room. Joining again only answers again."""
        name = request.room
        if (
            self._max_rooms
            and name not in connection.rooms
            and len(connection.rooms) >= self._max_rooms
        ):
            detail = f"at most {self._max_rooms} rooms at a time: leave one first"
            connection.send(Error(code="too_many_rooms", detail=detail, room=name))
            return
        async with self._lock(name):
            try:
                room = self._rooms.get(name) or await self._open(name)
                # This worker may not have heard everything, so the broker is asked too.
                missed_nothing = request.since == room.position and (
                    request.since == await self._backend.position(channel_of(name))
                )
            except BrokerUnavailable:
                detail = "the room can't be entered at the moment: try again"
                connection.send(Error(code="unavailable", detail=detail, room=name))
                return
            if connection not in room.members:
                self._presence.join(name, connection.user.name)
                room.members.add(connection)
                connection.rooms.add(name)
            connection.send(
                Joined(
                    room=name,
                    epoch=room.position.epoch,
                    offset=room.position.offset,
                    recovered=missed_nothing and request.since == room.position,
                    members=self._presence.members(name),
                )
            )

    async def leave(self, connection: Connection, name: str) -> None:
        """Leave a room."""
        if name not in connection.rooms:
            connection.send(not_joined(name))
            return
        await self._remove(connection, name)
        connection.send(Left(room=name))

    async def disconnect(self, connection: Connection) -> None:
        """Leave every room."""
        for name in list(connection.rooms):
            await self._remove(connection, name)

    async def publish(self, connection: Connection, request: Publish) -> None:
        """Publish to a room that the connection is in."""
        if request.room not in connection.rooms:
            connection.send(not_joined(request.room, request.id))
            return
        body = Body(
            id=request.id,
            sender=connection.user.name,
            text=request.text,
            sent_at=datetime.now(UTC),
        )
        try:
            await self._broadcast.publish(channel_of(request.room), body.model_dump_json())
        except BrokerUnavailable:
            detail = "the message could not be sent at the moment: try again"
            connection.send(
                Error(code="unavailable", detail=detail, room=request.room, ref=request.id)
            )

    # --- Rooms: opened, closed and changed under their lock -------------------------

    def _lock(self, name: str) -> asyncio.Lock:
        """The lock of a room, which lives as long as somebody holds or awaits it."""
        return self._locks.setdefault(name, asyncio.Lock())

    async def _open(self, name: str) -> Room:
        async with AsyncExitStack() as stack:
            subscriber = await stack.enter_async_context(
                self._broadcast.subscribe(channel_of(name))
            )
            room = Room(name, await self._backend.position(channel_of(name)))
            await stack.enter_async_context(_background(self._receive(room, subscriber)))
            room.subscription = stack.pop_all()
        self._rooms[name] = room
        return room

    async def _remove(self, connection: Connection, name: str) -> None:
        async with self._lock(name):
            if name not in connection.rooms:
                return
            connection.rooms.remove(name)
            room = self._rooms[name]
            room.members.remove(connection)
            self._presence.leave(name, connection.user.name)
            if not room.members:
                del self._rooms[name]
                await room.subscription.aclose()

    # --- From the broker to the members ---------------------------------------------

    async def _receive(self, room: Room, subscriber: Subscriber) -> None:
        while True:
            publication = cast("Publication", await subscriber.get())
            try:
                self._deliver(room, publication)
            except Exception:
                logger.exception("could not deliver a publication in %s", room.name)
            # A burst would fill the outboxes before their writers run.
            await asyncio.sleep(0)

    def _deliver(self, room: Room, publication: Publication) -> None:
        """Encode a publication once and hand it to every member.

        One that is not after the room's position was published before the
        subscription began.
        """
        position = publication.position
        if position.epoch == room.position.epoch and position.offset <= room.position.offset:
            return
        room.position = position
        try:
            body = Body.model_validate_json(publication.message)
        except ValidationError:
            logger.warning("skipped what is no message in %s", room.name)
            return
        message = Message(
            room=room.name,
            id=body.id,
            offset=position.offset,
            sender=body.sender,
            text=body.text,
            sent_at=body.sent_at,
        )
        self._send_to_members(room, message)

    def _notify(self, presence: Presence) -> None:
        room = self._rooms.get(presence.room)
        if room is not None:
            self._send_to_members(room, presence)

    def _send_to_members(self, room: Room, message: ServerMessage) -> None:
        frame = encode(message)
        for connection in room.members:
            connection.send_frame(frame)


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


def get_manager(connection: HTTPConnection) -> ConnectionManager:
    manager: ConnectionManager = connection.app.state.manager
    return manager


Manager = Annotated[ConnectionManager, Depends(get_manager)]
