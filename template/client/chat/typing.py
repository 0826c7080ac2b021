"""Who is typing in a room, and when to tell others that this user is."""

import time

from client.messages import Member

SHOWN = 5.0
"""Seconds that a user counts as typing after a signal."""

EVERY = 3.0
"""Seconds between two signals of this user, at least."""


class Typing:
    def __init__(self) -> None:
        self._others: dict[str, tuple[str, float]] = {}
        """By id: the name, and when the user does not count as typing any more."""
        self._sent_at = -EVERY

    @property
    def names(self) -> list[str]:
        """The names of the others who are typing."""
        now = time.monotonic()
        self._others = {id_: it for id_, it in self._others.items() if it[1] > now}
        return [name for name, _ in self._others.values()]

    def heard(self, member: Member) -> None:
        """Another user is typing."""
        self._others[member.id] = (member.name, time.monotonic() + SHOWN)

    def stopped(self, member: Member | None) -> None:
        """A user has sent what was typed."""
        if member is not None:
            self._others.pop(member.id, None)

    def is_due(self) -> bool:
        """Whether to send a signal now. If so, it counts as sent."""
        now = time.monotonic()
        if now - self._sent_at < EVERY:
            return False
        self._sent_at = now
        return True
