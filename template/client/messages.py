"""What the server says, as Python objects."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from app import events
from app.realtime.events import Event, Events, Signal, UnknownEvent

JSON = dict[str, Any]

EVENTS = Events.of(events)
"""The events and signals of `app/events.py`, by name."""


@dataclass(frozen=True, slots=True)
class Member:
    """A user. The id never changes; the name is for people."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a room's sequence of messages."""

    epoch: str
    offset: int


@dataclass(frozen=True, slots=True)
class RawEvent:
    """An event that `app/events.py` does not have, or whose data do not fit its model."""

    name: str
    data: JSON


@dataclass(frozen=True, slots=True)
class Message:
    """An event of a room."""

    id: str
    room: str
    event: Event | Signal | RawEvent
    sender: Member | None
    """None: the application."""
    offset: int
    sent_at: datetime
    is_own: bool
    """Whether this client's user sent it."""
    is_new: bool
    """False for what was there before this client joined the room for the first time."""


@dataclass(frozen=True, slots=True)
class ReceivedSignal:
    """A signal of another user, or of the application."""

    event: Event | Signal | RawEvent
    sender: Member | None


@dataclass(frozen=True, slots=True)
class Page:
    """Older messages, the newest last. `is_complete`: nothing older is remembered."""

    messages: Sequence[Message]
    is_complete: bool


def read_event(name: str, data: JSON) -> Event | Signal | RawEvent:
    """An event from its JSON."""
    try:
        return EVENTS.read(name, json.dumps(data))
    except (UnknownEvent, ValidationError):
        return RawEvent(name, data)


def read_member(frame: JSON | None) -> Member | None:
    return None if frame is None else Member(frame["id"], frame["name"])


def read_members(frames: Sequence[JSON] | None) -> dict[str, Member] | None:
    """Members by id, or None without a list."""
    if frames is None:
        return None
    return {frame["id"]: Member(frame["id"], frame["name"]) for frame in frames}


def read_message(frame: JSON, room: str, own_ids: set[str], *, is_new: bool) -> Message:
    """Raises KeyError, TypeError or ValueError for what is no message."""
    sender = read_member(frame.get("sender"))
    return Message(
        id=frame["id"],
        room=room,
        event=read_event(frame["event"], frame["data"]),
        sender=sender,
        offset=int(frame["offset"]),
        sent_at=datetime.fromisoformat(frame["sent_at"]),
        is_own=sender is not None and sender.id in own_ids,
        is_new=is_new,
    )
