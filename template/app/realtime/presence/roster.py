"""Who is in each room, and on how many workers."""

from dataclasses import dataclass


@dataclass(slots=True)
class Entry:
    """A user in a room."""

    name: str
    workers: int = 0


class Roster:
    """The users in every room, each once, however many workers they are on."""

    def __init__(self) -> None:
        self._rooms: dict[str, dict[str, Entry]] = {}

    def add(self, room: str, user: str, name: str) -> None:
        """Count one more worker that a user is on."""
        entry = self._rooms.setdefault(room, {}).setdefault(user, Entry(name))
        entry.name = name
        entry.workers += 1

    def rename(self, room: str, user: str, name: str) -> None:
        """Change the name of a user who is in a room."""
        self._rooms[room][user].name = name

    def remove(self, room: str, user: str) -> None:
        """Count one less."""
        users = self._rooms[room]
        users[user].workers -= 1
        if not users[user].workers:
            del users[user]
        if not users:
            del self._rooms[room]

    def count(self, room: str) -> int:
        """How many users are in a room."""
        return len(self._rooms.get(room, ()))

    def names(self, room: str) -> dict[str, str]:
        """The users in a room: their names, by id."""
        return {user: entry.name for user, entry in self._rooms.get(room, {}).items()}
