"""A room as this client knows it: its position, and who is there.

    outside ──▶ joining ──▶ replaying ──▶ inside
     ▲  ▲        │   │          │            │
     │  │        │   └─ missed ─┴─ resync ───┤     join again: messages were lost
     │  └────────│───────────────────────────┘     also when the reader has caught up
     │           ▼
     └─────── refused                              for a while, or until the next `join`

From any of them, `left` with the reason "evicted" leads to evicted.

After `joined` come the missed messages (or, without a position, the recent ones), then the
live ones. Offsets grow, but not always by one: the server sends `resync` when messages were
lost. Messages that arrive while the client joins are ignored, because the replay has them.

A reader that is slower than the room fills its inbox. Then the messages that do not fit are
ignored, and when the inbox is half empty the client joins again from its position: the
server's history has them, or says that it does not.
"""

import time
from collections import OrderedDict
from dataclasses import replace
from enum import StrEnum, auto

from client.errors import MessagesMissed
from client.inbox import Inbox
from client.messages import JSON, Member, Message, Position, read_member, read_members

REMEMBERED = 1000
"""Ids of this many messages are remembered, to tell duplicates from messages out of order."""

NOT_RECOVERED = "the server's history does not reach back to the last one that was received"
OUT_OF_ORDER = "the server sent them out of order"
UNREADABLE = "the server sent one that can't be read"


class State(StrEnum):
    OUTSIDE = auto()
    JOINING = auto()
    REPLAYING = auto()
    INSIDE = auto()
    REFUSED = auto()
    EVICTED = auto()


class Membership:
    """What the server's messages mean for one room. It does no input or output."""

    def __init__(self, room: str, inbox: Inbox, since: Position | None) -> None:
        self.state = State.OUTSIDE
        self.position = since
        """Of the last message that went to the reader."""
        self.members: dict[str, Member] | None = {}
        """By id; None in a room that is too large for a list."""
        self.count = 0
        self.is_known = since is not None
        """Whether the recent messages are here, so that every further one is new."""
        self.refusals = 0
        self._room = room
        self._inbox = inbox
        self._is_paused = False
        """Whether messages are ignored until the reader has caught up."""
        self._asked_since: Position | None = None
        self._joined_at = Position("", 0)
        """The room's position when this client joined it: the replay ends there."""
        self._retry_at = 0.0
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._has_gap = False
        """Whether the recent messages come again, some of which may be known."""

    @property
    def is_inside(self) -> bool:
        return self.state in {State.REPLAYING, State.INSIDE}

    @property
    def epoch(self) -> str:
        return self._joined_at.epoch

    @property
    def _wanted_since(self) -> Position | None:
        return None if self._is_paused else self.position

    def next(self) -> JSON | None:
        """The next message to send, or None. It counts as sent."""
        if self.state is State.REFUSED and self._retry_at and time.monotonic() >= self._retry_at:
            self.state = State.OUTSIDE
        if self.state is not State.OUTSIDE:
            return None
        self.state = State.JOINING
        self._asked_since = since = self._wanted_since
        frame: JSON = {"type": "join", "room": self._room}
        if since is not None:
            frame["since"] = {"epoch": since.epoch, "offset": since.offset}
        return frame

    def disconnected(self) -> None:
        """The connection is gone, and with it the membership."""
        if self.is_inside or self.state is State.JOINING:
            self.state = State.OUTSIDE

    def try_again(self) -> None:
        """There may be a place now."""
        if self.state is State.REFUSED and self._retry_at:
            self.state = State.OUTSIDE

    def enter_again(self) -> None:
        """Ask once more, after a refusal or an eviction."""
        if self.state in {State.REFUSED, State.EVICTED}:
            self.state = State.OUTSIDE
            self._inbox.reopen()

    def reset(self) -> None:
        """This is another room of the same name, since the user is another one."""
        if self.position is not None:
            self._lose()

    def joined(self, frame: JSON) -> None:
        if self.state is not State.JOINING:
            return
        self.refusals = 0
        self._set_members(read_members(frame.get("members")), frame["count"])
        since = self._asked_since
        if since != self._wanted_since:  # the reader has caught up since it was asked
            self.state = State.OUTSIDE
        elif since is not None and not frame["recovered"]:
            self._lose()
            self.state = State.OUTSIDE
        else:
            self._joined_at = Position(frame["epoch"], frame["offset"])
            self.state = State.REPLAYING
            if self._joined_at.offset <= (since.offset if since else 0):
                self.replayed()

    def replayed(self) -> None:
        """The replay is complete."""
        if self.state is not State.REPLAYING:
            return
        self.state = State.INSIDE
        self._has_gap = False
        if self._is_paused:
            return
        self.is_known = True
        if self._last < self._joined_at.offset:  # the last message may be one nobody can read
            self.position = self._joined_at

    def message(self, message: Message, *, is_answer: bool) -> None:
        """A message. `is_answer`: it acknowledges one of the user's own."""
        if not self.is_inside:
            return
        if not self._is_paused:
            self._take(message, is_answer)
        if message.offset >= self._joined_at.offset:
            self.replayed()

    def resync(self) -> None:
        """Messages are missing: ask for those after the last one that is here."""
        if self.is_inside:
            self.state = State.OUTSIDE

    def unreadable(self) -> None:
        """A message can't be read, so the reader does not get it."""
        if self.is_inside and not self._is_paused:
            self._inbox.missed(MessagesMissed(self._room, UNREADABLE))

    def has_space(self) -> None:
        """The reader has caught up."""
        if self._is_paused:
            self._is_paused = False
            if self.is_inside:
                self.state = State.OUTSIDE

    def refused(self, seconds: float | None) -> None:
        """The server did not let this client in. Ask again after so many seconds, or never."""
        self.state = State.REFUSED
        self.refusals += 1
        self._retry_at = 0.0 if seconds is None else time.monotonic() + seconds

    def evicted(self) -> None:
        self.state = State.EVICTED
        self._set_members({}, 0)

    def presence(self, frame: JSON) -> None:
        """Users came or left. A large room says only how many are there."""
        if frame.get("count") is not None:
            self._set_members(read_members(frame.get("members")), frame["count"])
            return
        user = read_member(frame.get("user"))
        users = [user] if user else [*(read_members(frame.get("users")) or {}).values()]
        has_come = frame["event"] == "join"
        if self.members is None:
            self.count += len(users) if has_come else -len(users)
            return
        for each in users:
            if has_come:
                self.members[each.id] = each
            else:
                self.members.pop(each.id, None)
        self.count = len(self.members)

    # --- How messages get to the reader ---------------------------------------------

    @property
    def _last(self) -> int:
        """The offset up to which messages of this epoch are here."""
        if self.position is None or self.position.epoch != self.epoch:
            return -1
        return self.position.offset

    def _take(self, message: Message, is_answer: bool) -> None:
        is_known = message.id in self._seen
        if message.offset <= self._last:
            if not is_known and not is_answer:
                self._inbox.missed(MessagesMissed(self._room, OUT_OF_ORDER))
        elif self._inbox.is_full:
            self._is_paused = True
        else:
            self.position = Position(self.epoch, message.offset)
            if not (is_known and self._has_gap):
                self._remember(message.id)
                self._inbox.put(replace(message, is_new=self.is_known))

    def _remember(self, id: str) -> None:  # noqa: A002
        self._seen[id] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def _lose(self) -> None:
        self.position = None
        self._has_gap = True
        self._inbox.missed(MessagesMissed(self._room, NOT_RECOVERED))

    def _set_members(self, members: dict[str, Member] | None, count: int) -> None:
        self.members = members
        self.count = count
