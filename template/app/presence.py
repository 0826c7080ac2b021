"""Who is in a room, across workers, without storing it anywhere.

Each worker tells the others of every change among its own users at once, and of all
its users twice a period, over a channel of the broker. A worker that was not heard
for longer than that is forgotten, unless the broker is what was silent: then a worker
does not hear itself either.
"""

import asyncio
import contextlib
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

from broadcaster import Broadcast
from pydantic import ValidationError

from app.broker import BrokerUnavailable, Resubscribed
from app.metrics import POISON
from app.protocol import Model, Presence

logger = logging.getLogger(__name__)

CHANNEL = "presence"

Rooms = dict[str, set[str]]
"""The users in each room."""

Change = tuple[str, str, bool]
"""Room, user, and whether the user is there now."""


class Announcement(Model):
    """What one worker tells the others."""

    worker: str
    changes: tuple[Change, ...] = ()
    users: dict[str, list[str]] | None = None
    """All users of the worker by room, in place of what was known of it."""
    is_new: bool = False
    """Asks the others for all of theirs."""


class Neighbour:
    """Another worker, as far as it was heard."""

    def __init__(self) -> None:
        self.rooms: Rooms = {}
        self.unheard = 0
        """Ends of this worker's intervals since the other was heard."""


class PresenceTracker:
    """Counts the users in every room, and says when one comes or leaves.

    `notify` is called with each change that is one for the whole of the room: a
    user's second tab, on whichever worker, is none. The users of a worker that died
    leave within twice the `period`, in seconds.
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
        self._here: dict[str, Counter[str]] = {}
        self._neighbours: dict[str, Neighbour] = {}
        self._changes: list[Change] = []
        self._announce_all = True
        self._something_to_say = asyncio.Event()
        self._heard_itself = False

    def members(self, room: str) -> list[str]:
        """The users in a room, in alphabetical order."""
        users = set(self._here.get(room, ()))
        for neighbour in self._neighbours.values():
            users |= neighbour.rooms.get(room, set())
        return sorted(users)

    def join(self, room: str, user: str) -> None:
        """Count one more connection of a user of this worker in a room."""
        was_there = self._is_there(room, user)
        users = self._here.setdefault(room, Counter())
        users[user] += 1
        if users[user] == 1:
            self._change(room, user, is_there=True)
        if not was_there:
            self._notify(Presence(room=room, user=user, event="join"))

    def leave(self, room: str, user: str) -> None:
        """Count one less."""
        users = self._here[room]
        users[user] -= 1
        if users[user] > 0:
            return
        del users[user]
        if not users:
            del self._here[room]
        self._change(room, user, is_there=False)
        if not self._is_there(room, user):
            self._notify(Presence(room=room, user=user, event="leave"))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Exchange announcements with the other workers; tell them at the end."""
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self._listen())
            announcing = tasks.create_task(self._announce())
            yield
            listening.cancel()
            announcing.cancel()
            with contextlib.suppress(BrokerUnavailable):  # they will miss us soon enough
                await self._publish(Announcement(worker=self._worker, users={}))

    def _is_there(self, room: str, user: str) -> bool:
        return user in self._here.get(room, ()) or any(
            user in neighbour.rooms.get(room, ()) for neighbour in self._neighbours.values()
        )

    # --- To the other workers -------------------------------------------------------

    def _change(self, room: str, user: str, *, is_there: bool) -> None:
        self._changes.append((room, user, is_there))
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
        users = {room: list(counts) for room, counts in self._here.items()}
        return Announcement(worker=self._worker, users=users, is_new=is_new)

    async def _publish(self, announcement: Announcement) -> None:
        await self._broadcast.publish(CHANNEL, announcement.model_dump_json(exclude_none=True))

    # --- From the other workers -----------------------------------------------------

    async def _listen(self) -> None:
        async with self._broadcast.subscribe(CHANNEL) as subscriber:
            while True:
                event = await subscriber.get()
                if isinstance(event, Resubscribed):
                    self._announce_all = True  # others may have forgotten us meanwhile
                    self._something_to_say.set()
                    continue
                try:
                    announcement = Announcement.model_validate_json(event.message)
                except ValidationError:
                    POISON.inc()
                    logger.warning("skipped what is no announcement of presence")
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
            now = {room: set(users) for room, users in announcement.users.items()}
            changes = [(room, user, False) for room, user in _missing(neighbour.rooms, now)]
            changes += [(room, user, True) for room, user in _missing(now, neighbour.rooms)]
        for room, user, is_there in changes:
            self._apply(neighbour, room, user, is_there=is_there)

    def _apply(self, neighbour: Neighbour, room: str, user: str, *, is_there: bool) -> None:
        was_there = self._is_there(room, user)
        users = neighbour.rooms.setdefault(room, set())
        if is_there:
            users.add(user)
        else:
            users.discard(user)
        if not users:
            del neighbour.rooms[room]
        if was_there != self._is_there(room, user):
            event: Literal["join", "leave"] = "join" if is_there else "leave"
            self._notify(Presence(room=room, user=user, event=event))

    def _forget_silent_neighbours(self) -> None:
        """At the end of an interval. A worker that lives is heard between any three ends."""
        for worker, neighbour in list(self._neighbours.items()):
            neighbour.unheard = neighbour.unheard + 1 if self._heard_itself else 0
            if neighbour.unheard == 3:
                for room, user in _missing(neighbour.rooms, {}):
                    self._apply(neighbour, room, user, is_there=False)
                del self._neighbours[worker]
        self._heard_itself = False


def _missing(rooms: Rooms, elsewhere: Rooms) -> list[tuple[str, str]]:
    """The pairs of room and user that are in `rooms` but not `elsewhere`."""
    return [
        (room, user) for room, users in rooms.items() for user in users - elsewhere.get(room, set())
    ]
