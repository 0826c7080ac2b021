"""Who is in a room, across all workers, without storing it anywhere.

Each worker announces every change among its own users at once, and all of its users twice
a period, on a channel of the broker. A worker that has been silent for longer is
forgotten, unless this worker does not hear itself either: then the broker is silent.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from broadcaster import Broadcast
from pydantic import ValidationError

from app.realtime.broker import BrokerUnavailable, Resubscribed
from app.realtime.identity import User
from app.realtime.metrics import POISON
from app.realtime.protocol import Member, Model, Presence

logger = logging.getLogger(__name__)

CHANNEL = "presence"

Rooms = dict[str, dict[str, str]]
"""The users in each room: their names, by id."""

Change = tuple[str, str, str, bool]
"""Room, id and name of a user, and whether the user is there now."""


class Announcement(Model):
    """What one worker tells the others."""

    worker: str
    changes: tuple[Change, ...] = ()
    users: Rooms | None = None
    """All users of the worker by room. It replaces what was known of the worker."""
    is_new: bool = False
    """Asks the others to announce all of their users."""


@dataclass(slots=True)
class Present:
    """A user of this worker in a room."""

    name: str
    connections: int = 0


class Neighbour:
    """Another worker, as far as this one has heard of it."""

    def __init__(self) -> None:
        self.rooms: Rooms = {}
        self.unheard = 0
        """How many intervals of this worker ended since the other was heard."""


class PresenceTracker:
    """Knows the users in every room, and tells when one enters or leaves.

    `notify` is called with each change that is one for the whole room. A second
    connection of a user is none, on whichever worker it is. The users of a worker that
    died leave within twice the `period`, in seconds.
    """

    def __init__(
        self,
        broadcast: Broadcast,
        period: float,
        notify: Callable[[Presence], None],
    ) -> None:
        self._broadcast = broadcast
        self._interval = period / 2
        self._notify = notify
        self._worker = secrets.token_hex(8)
        self._here: dict[str, dict[str, Present]] = {}
        self._neighbours: dict[str, Neighbour] = {}
        self._changes: list[Change] = []
        self._announce_all = True
        self._something_to_say = asyncio.Event()
        self._heard_itself = False

    def members(self, room: str) -> list[Member]:
        """The users in a room on all workers, in the order of their names."""
        names: dict[str, str] = {}
        for neighbour in self._neighbours.values():
            names |= neighbour.rooms.get(room, {})
        names |= {user: present.name for user, present in self._here.get(room, {}).items()}
        members = [Member(id=user, name=name) for user, name in names.items()]
        return sorted(members, key=lambda member: (member.name, member.id))

    def join(self, room: str, user: User) -> None:
        """Count one more connection of a user of this worker in a room."""
        was_there = self._is_there(room, user.id)
        present = self._here.setdefault(room, {}).setdefault(user.id, Present(user.name))
        is_news = present.connections == 0 or present.name != user.name
        present.name = user.name
        present.connections += 1
        if is_news:
            self._change(room, user.id, user.name, is_there=True)
        if not was_there:
            self._notify(Presence(room=room, user=Member.of(user), event="join"))

    def leave(self, room: str, user: User) -> None:
        """Count one less."""
        users = self._here[room]
        present = users[user.id]
        present.connections -= 1
        if present.connections > 0:
            return
        del users[user.id]
        if not users:
            del self._here[room]
        self._change(room, user.id, present.name, is_there=False)
        if not self._is_there(room, user.id):
            self._notify(Presence(room=room, user=Member.of(user), event="leave"))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Exchange announcements with the other workers, and say goodbye at the end."""
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self._listen())
            announcing = tasks.create_task(self._announce())
            yield
            listening.cancel()
            announcing.cancel()
            with contextlib.suppress(BrokerUnavailable):  # they will notice the silence
                await self._publish(Announcement(worker=self._worker, users={}))

    def _is_there(self, room: str, user: str) -> bool:
        return user in self._here.get(room, ()) or any(
            user in neighbour.rooms.get(room, ()) for neighbour in self._neighbours.values()
        )

    # --- To the other workers -------------------------------------------------------

    def _change(self, room: str, user: str, name: str, *, is_there: bool) -> None:
        self._changes.append((room, user, name, is_there))
        self._something_to_say.set()

    async def _announce(self) -> None:
        clock = asyncio.get_running_loop().time
        is_new = True
        tick = clock() + self._interval
        while True:
            try:
                if self._announce_all or self._changes:
                    await self._publish(self._announcement(is_new))
                    is_new = False
            except BrokerUnavailable:
                self._announce_all = True  # at the next occasion
            try:
                async with asyncio.timeout_at(tick):
                    await self._something_to_say.wait()
            except TimeoutError:
                tick = clock() + self._interval
                self._announce_all = True
                self._forget_silent_neighbours()
            self._something_to_say.clear()

    def _announcement(self, is_new: bool) -> Announcement:
        changes = tuple(self._changes)
        self._changes.clear()
        if not self._announce_all:
            return Announcement(worker=self._worker, changes=changes)
        self._announce_all = False
        users = {
            room: {user: present.name for user, present in everybody.items()}
            for room, everybody in self._here.items()
        }
        return Announcement(worker=self._worker, users=users, is_new=is_new)

    async def _publish(self, announcement: Announcement) -> None:
        await self._broadcast.publish(CHANNEL, announcement.model_dump_json(exclude_none=True))

    # --- From the other workers -----------------------------------------------------

    async def _listen(self) -> None:
        async with self._broadcast.subscribe(CHANNEL) as subscriber:
            while True:
                event = await subscriber.get()
                if isinstance(event, Resubscribed):
                    self._announce_all = True  # others may have forgotten this worker
                    self._something_to_say.set()
                    continue
                try:
                    announcement = Announcement.model_validate_json(event.message)
                except ValidationError:
                    POISON.inc()
                    logger.warning("skipped a malformed announcement of presence")
                    continue
                if announcement.worker == self._worker:
                    self._heard_itself = True
                else:
                    self._hear(announcement)

    def _hear(self, announcement: Announcement) -> None:
        neighbour = self._neighbours.setdefault(announcement.worker, Neighbour())
        neighbour.unheard = 0
        if announcement.is_new:
            self._announce_all = True
            self._something_to_say.set()
        changes = list(announcement.changes)
        if announcement.users is not None:
            now = announcement.users
            changes = [(*gone, False) for gone in _missing(neighbour.rooms, now)]
            changes += [(*new, True) for new in _missing(now, neighbour.rooms)]
        for room, user, name, is_there in changes:
            self._apply(neighbour, room, user, name, is_there=is_there)

    def _apply(
        self, neighbour: Neighbour, room: str, user: str, name: str, *, is_there: bool
    ) -> None:
        was_there = self._is_there(room, user)
        users = neighbour.rooms.setdefault(room, {})
        if is_there:
            users[user] = name
        else:
            users.pop(user, None)
        if not users:
            del neighbour.rooms[room]
        if was_there != self._is_there(room, user):
            event: Literal["join", "leave"] = "join" if is_there else "leave"
            self._notify(Presence(room=room, user=Member(id=user, name=name), event=event))

    def _forget_silent_neighbours(self) -> None:
        """At the end of an interval. A live worker is heard between any three ends."""
        for worker, neighbour in list(self._neighbours.items()):
            neighbour.unheard = neighbour.unheard + 1 if self._heard_itself else 0
            if neighbour.unheard == 3:
                for room, user, name in _missing(neighbour.rooms, {}):
                    self._apply(neighbour, room, user, name, is_there=False)
                del self._neighbours[worker]
        self._heard_itself = False


def _missing(rooms: Rooms, elsewhere: Rooms) -> list[tuple[str, str, str]]:
    """Room, id and name of the users that are in `rooms` but not `elsewhere`."""
    return [
        (room, user, name)
        for room, users in rooms.items()
        for user, name in users.items()
        if user not in elsewhere.get(room, ())
    ]
