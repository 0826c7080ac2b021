"""Knows the users of this worker's rooms, and exchanges them with the other workers.

Each worker announces changes among its own users at once, and states all of its users again
and again, in parts. A worker that has been silent for longer than it may is forgotten,
unless this worker does not hear itself either: then the broker is silent.
"""

import asyncio
import contextlib
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import islice

from broadcaster import Broadcast
from pydantic import ValidationError

from app.realtime.broker import BrokerUnavailable, Resubscribed
from app.realtime.identity import User
from app.realtime.metrics import POISON
from app.realtime.presence.announcements import (
    CHANNEL,
    END,
    MAX_USERS,
    START,
    Announcement,
    Change,
    Users,
)
from app.realtime.presence.news import News, sorted_members
from app.realtime.presence.roster import Roster
from app.realtime.protocol import Member, Presence

logger = logging.getLogger(__name__)

GATHER = 0.1
"""Seconds between two announcements. What changes in the meantime is in one of them."""

STATE_EVERY = 0.1
"""Seconds between two parts of what a worker states: 200 KB a second at most."""


class Neighbour:
    """Another worker, as far as this one has heard of it."""

    def __init__(self) -> None:
        self.users = Users()
        self.unheard = 0
        """How many intervals of this worker ended since the other was heard."""


class PresenceTracker:
    """Knows the users in every room, and tells the members of a room what changes.

    A second connection of a user changes nothing, on whichever worker it is. The users of a
    worker that died leave within twice the `period`, in seconds.
    """

    def __init__(
        self,
        broadcast: Broadcast,
        period: float,
        most: int,
        notify: Callable[[Presence], None],
    ) -> None:
        """`most` and `notify` are those of `News`."""
        self._broadcast = broadcast
        self._interval = period / 2
        self._worker = secrets.token_hex(8)
        self._here = Users()
        self._more: Counter[tuple[str, str]] = Counter()
        """Further connections of a user in a room, beside the first one."""
        self._neighbours: dict[str, Neighbour] = {}
        self._roster = Roster()
        self._news = News(self._roster, most, notify)
        self._changes: dict[tuple[str, str], str | None] = {}
        """By room and user: what the other workers are to be told."""
        self._has_changed = asyncio.Event()
        self._is_asked = asyncio.Event()
        """Somebody may have missed something."""
        self._heard_itself = False

    def members(self, room: str) -> list[Member]:
        """The users in a room on all workers, in the order of their names."""
        return sorted_members(self._roster.names(room))

    def count(self, room: str) -> int:
        """How many users are in a room, on all workers."""
        return self._roster.count(room)

    def shown(self, room: str) -> list[Member] | None:
        """The users that a new member is told of. None in a room with too many."""
        names = self._news.shown(room)
        return sorted_members(names) if names is not None else None

    def join(self, room: str, users: Iterable[User]) -> None:
        """Count one more connection of each of these users of this worker in a room."""
        is_open = self._here.has(room)
        for user in users:
            known = self._here.get(room, user.id)
            if known is None:
                self._roster.add(room, user.id, user.name)
            else:
                self._more[room, user.id] += 1
                if known != user.name:
                    self._roster.rename(room, user.id, user.name)
            if known != user.name:
                self._here.set(room, user.id, user.name)
                self._change(room, user.id, user.name)
        if is_open:
            self._news.changed(room)
        elif self._here.has(room):
            self._news.open(room)

    def leave(self, room: str, user: User) -> None:
        """Count one less."""
        if self._more[room, user.id]:
            self._more[room, user.id] -= 1
            return
        del self._more[room, user.id]
        self._here.remove(room, user.id)
        self._roster.remove(room, user.id)
        self._change(room, user.id, None)
        if self._here.has(room):
            self._news.changed(room)
        else:
            self._news.close(room)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Exchange announcements with the other workers, and say goodbye at the end."""
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._listen()),
                tasks.create_task(self._announce_changes()),
                tasks.create_task(self._state()),
                tasks.create_task(self._forget_silent_neighbours()),
            ]
            yield
            for task in running:
                task.cancel()
            with contextlib.suppress(BrokerUnavailable):  # they will notice the silence
                await self._publish(Announcement(worker=self._worker, is_leaving=True))

    # --- To the other workers -------------------------------------------------------

    def _change(self, room: str, user: str, name: str | None) -> None:
        self._changes[room, user] = name
        self._has_changed.set()

    async def _announce_changes(self) -> None:
        while True:
            await self._has_changed.wait()
            self._has_changed.clear()
            try:
                while self._changes:
                    keys = list(islice(self._changes, MAX_USERS))
                    changes = tuple((*key, self._changes.pop(key)) for key in keys)
                    await self._publish(Announcement(worker=self._worker, changes=changes))
            except BrokerUnavailable:
                self._changes.clear()
                self._is_asked.set()
            await asyncio.sleep(GATHER)

    async def _state(self) -> None:
        """State all users of this worker once an interval, and whenever somebody asks."""
        clock = asyncio.get_running_loop().time
        is_new = True
        tick = clock()
        while True:
            with contextlib.suppress(BrokerUnavailable):
                await self._state_all(is_new=is_new)
                is_new = False
            tick = max(tick + self._interval, clock())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(tick):
                    await self._is_asked.wait()
                    await asyncio.sleep(GATHER)  # several may ask at the same time
            self._is_asked.clear()

    async def _state_all(self, *, is_new: bool) -> None:
        place = START
        while place != END:
            statement = self._here.state(place)
            place = statement.end
            await self._publish(
                Announcement(worker=self._worker, statement=statement, is_new=is_new)
            )
            is_new = False
            if place != END:
                await asyncio.sleep(STATE_EVERY)

    async def _publish(self, announcement: Announcement) -> None:
        await self._broadcast.publish(CHANNEL, announcement.model_dump_json(exclude_defaults=True))

    # --- From the other workers -----------------------------------------------------

    async def _listen(self) -> None:
        async with self._broadcast.subscribe(CHANNEL) as subscriber:
            while True:
                event = await subscriber.get()
                if isinstance(event, Resubscribed):
                    self._is_asked.set()  # others may have forgotten this worker
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
        if announcement.is_leaving:
            self._forget(announcement.worker)
            return
        if announcement.is_new:
            self._is_asked.set()
        changes = list(announcement.changes)
        if announcement.statement is not None:
            changes += neighbour.users.changes_to(announcement.statement)
        self._apply(neighbour, changes)

    def _apply(self, neighbour: Neighbour, changes: Iterable[Change]) -> None:
        changed = set()
        for room, user, name in changes:
            known = neighbour.users.get(room, user)
            if known == name:
                continue
            changed.add(room)
            if name is None:
                neighbour.users.remove(room, user)
                self._roster.remove(room, user)
                continue
            neighbour.users.set(room, user, name)
            if known is None:
                self._roster.add(room, user, name)
            else:
                self._roster.rename(room, user, name)
        for room in changed:
            self._news.changed(room)

    def _forget(self, worker: str) -> None:
        neighbour = self._neighbours.pop(worker)
        users = neighbour.users.between(START, END)
        self._apply(neighbour, [(room, user, None) for room, user, _ in users])

    async def _forget_silent_neighbours(self) -> None:
        """A live worker is heard between any three ends of an interval.

        One that is busy may hear itself just before one end and just after the next one. So
        the broker is silent only if this worker is not heard for two intervals.
        """
        silence = 0
        while True:
            await asyncio.sleep(self._interval)
            silence = 0 if self._heard_itself else silence + 1
            self._heard_itself = False
            for worker, neighbour in list(self._neighbours.items()):
                neighbour.unheard = neighbour.unheard + 1 if silence < 2 else 0
                if neighbour.unheard == 3:
                    self._forget(worker)
