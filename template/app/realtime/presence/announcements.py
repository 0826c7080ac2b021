"""What workers tell each other about their users, on one channel of the broker.

A worker announces changes as they come, gathered for a moment. What it says in full, for
those who may have missed something, is said in parts: each of them is bounded, and they
are spread over time.
"""

from collections.abc import Iterator
from zlib import crc32

from app.realtime.protocol import Model

CHANNEL = "presence"

BUCKETS = 256
"""Rooms are shared out among so many, so that a part of them can be put in order quickly."""

MAX_USERS = 200
"""Users in one announcement: about 20 KB."""

Place = tuple[int, str, str]
"""A bucket, a room in it and the id of a user: all users of a worker have an order."""

START: Place = (0, "", "")
END: Place = (BUCKETS, "", "")

Change = tuple[str, str, str | None]
"""A room, the id of a user, and the user's name. None if the user is not there any more."""


class Statement(Model):
    """The users of a worker from one place to before another. It has no others there."""

    start: Place
    end: Place
    users: tuple[tuple[str, str, str], ...]
    """Room, id and name of each."""


class Announcement(Model):
    """What one worker tells the others."""

    worker: str
    changes: tuple[Change, ...] = ()
    statement: Statement | None = None
    is_new: bool = False
    """Asks the others to state all of their users."""
    is_leaving: bool = False
    """The worker has no users any more."""


class Users:
    """The users of one worker: in each room, their names by id."""

    def __init__(self) -> None:
        self._buckets: list[dict[str, dict[str, str]]] = [{} for _ in range(BUCKETS)]

    def get(self, room: str, user: str) -> str | None:
        """The name of a user who is in a room."""
        return self._buckets[bucket_of(room)].get(room, {}).get(user)

    def has(self, room: str) -> bool:
        """Whether anybody is in a room."""
        return room in self._buckets[bucket_of(room)]

    def set(self, room: str, user: str, name: str) -> None:
        """Add a user to a room, or change the user's name."""
        self._buckets[bucket_of(room)].setdefault(room, {})[user] = name

    def remove(self, room: str, user: str) -> None:
        """Remove a user who is in a room."""
        bucket = self._buckets[bucket_of(room)]
        del bucket[room][user]
        if not bucket[room]:
            del bucket[room]

    def between(self, start: Place, end: Place) -> Iterator[tuple[str, str, str]]:
        """Room, id and name of each user from `start` to before `end`, in order."""
        for number in range(start[0], min(end[0] + 1, BUCKETS)):
            users = (
                (room, user, name)
                for room, names in self._buckets[number].items()
                for user, name in names.items()
            )
            for room, user, name in sorted(users):
                if start <= (number, room, user) < end:
                    yield room, user, name

    def state(self, start: Place) -> Statement:
        """As many users from a place on as a statement may have."""
        users: list[tuple[str, str, str]] = []
        for room, user, name in self.between(start, END):
            if len(users) == MAX_USERS:
                return Statement(start=start, end=(bucket_of(room), room, user), users=tuple(users))
            users.append((room, user, name))
        return Statement(start=start, end=END, users=tuple(users))

    def changes_to(self, statement: Statement) -> list[Change]:
        """What has to change so that a statement is true."""
        stated = {(room, user): name for room, user, name in statement.users}
        known = list(self.between(statement.start, statement.end))
        changes: list[Change] = [
            (room, user, None) for room, user, _ in known if (room, user) not in stated
        ]
        changes += [
            (room, user, name)
            for (room, user), name in stated.items()
            if self.get(room, user) != name
        ]
        return changes


def bucket_of(room: str) -> int:
    return crc32(room.encode()) % BUCKETS
