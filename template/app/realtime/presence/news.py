"""Tells the members of a room who enters and who leaves.

What this costs is bounded whatever clients do. A room is told of changes at most once a
second, and of nothing when somebody left and came back in between. A room with more
members than `most` is told only how many there are.
"""

import asyncio
from collections.abc import Callable
from typing import Literal

from app.realtime.presence.roster import Roster
from app.realtime.protocol import Member, Presence

PAUSE = 1.0
"""Seconds between two times that a room is told of changes."""

RETURN = 0.75
"""A room that was told counts is told names again below this part of the limit.

Otherwise one client at the limit could have all names sent to all members again and again.
"""


class Told:
    """What the members of a room know."""

    def __init__(self, names: dict[str, str] | None, count: int) -> None:
        self.names = names
        """The users by id. None if the members know the count only."""
        self.count = count
        self.at = float("-inf")
        self.timer: asyncio.TimerHandle | None = None


class News:
    """What the members on this worker know of who is in their rooms."""

    def __init__(self, roster: Roster, most: int, notify: Callable[[Presence], None]) -> None:
        """`notify` is called with what the members of a room are to be told."""
        self._roster = roster
        self._most = most
        self._notify = notify
        self._rooms: dict[str, Told] = {}

    def open(self, room: str) -> None:
        """The first members enter a room. Their `joined` tells them who is there."""
        count = self._roster.count(room)
        names = None if self._is_large(count) else self._roster.names(room)
        self._rooms[room] = Told(names, count)

    def close(self, room: str) -> None:
        """The last member has left."""
        told = self._rooms.pop(room, None)
        if told is not None and told.timer is not None:
            told.timer.cancel()

    def shown(self, room: str) -> dict[str, str] | None:
        """The users that somebody who enters is told of. None if it is only the count."""
        told = self._rooms.get(room)
        if told is None or self._is_large(self._roster.count(room)):
            if told is not None:
                told.names = None
            return None
        return self._roster.names(room) if told.names is not None else None

    def changed(self, room: str) -> None:
        """Tell the members what has changed, now or a second after the last time."""
        told = self._rooms.get(room)
        if told is None or told.timer is not None:
            return
        loop = asyncio.get_running_loop()
        wait = told.at + PAUSE - loop.time()
        if wait <= 0:
            self._tell(room, told)
        else:
            told.timer = loop.call_later(wait, self._tell, room, told)

    def _is_large(self, count: int) -> bool:
        return 0 < self._most < count

    def _tell(self, room: str, told: Told) -> None:
        told.timer = None
        count = self._roster.count(room)
        before, told.count = told.count, count
        if told.names is None:
            if not self._is_large(int(count / RETURN)):
                told.names = self._roster.names(room)
                self._send(
                    told, Presence(room=room, count=count, members=sorted_members(told.names))
                )
            elif count != before:
                self._send(told, Presence(room=room, count=count))
        elif self._is_large(count):
            told.names = None
            self._send(told, Presence(room=room, count=count))
        else:
            known, told.names = told.names, self._roster.names(room)
            gone = {user: name for user, name in known.items() if user not in told.names}
            new = {user: name for user, name in told.names.items() if known.get(user) != name}
            self._send_users(room, told, gone, "leave")
            self._send_users(room, told, new, "join")

    def _send_users(
        self, room: str, told: Told, names: dict[str, str], event: Literal["join", "leave"]
    ) -> None:
        members = sorted_members(names)
        if len(members) == 1:
            self._send(told, Presence(room=room, user=members[0], event=event))
        elif members:
            self._send(told, Presence(room=room, users=members, event=event))

    def _send(self, told: Told, presence: Presence) -> None:
        told.at = asyncio.get_running_loop().time()
        self._notify(presence)


def sorted_members(names: dict[str, str]) -> list[Member]:
    """Users in the order of their names."""
    members = [Member(id=user, name=name) for user, name in names.items()]
    return sorted(members, key=lambda member: (member.name, member.id))
