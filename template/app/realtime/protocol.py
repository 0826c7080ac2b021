"""Version 1 of the wire protocol: every message, and the close codes.

A frame is UTF-8 JSON text and holds one message. Unknown fields are ignored, so that
clients and servers can be upgraded in any order.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import IntEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.realtime.events import Event, Signal
from app.realtime.identity import OWN_ROOM, User

SUBPROTOCOL = "realtime.v1"

PAGE = 100
"""The most messages that one `history` answers."""

ROOM_PATTERN = r"[A-Za-z0-9_.:-]{1,64}"
RoomName = Annotated[str, StringConstraints(pattern=rf"^(?:{ROOM_PATTERN}|{OWN_ROOM})$")]
MessageId = Annotated[str, StringConstraints(min_length=1, max_length=64)]
"""Chosen by the client: of a publication, unique in its room; of a call, in its connection."""


class CloseCode(IntEnum):
    """Why the server closes a socket (RFC 6455 section 7.4.1; from 4000 on, our own)."""

    UNSUPPORTED_DATA = 1003
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    TRY_AGAIN_LATER = 1013
    UNAUTHENTICATED = 4401
    FORBIDDEN = 4403


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


def to_json(model: Model) -> bytes:
    """The JSON of a message, without fields that have no value."""
    # What `model_dump_json` calls, at half its price.
    return model.__pydantic_serializer__.to_json(model, exclude_none=True)


class Position(Model):
    """A place in a room's sequence of publications.

    Offsets grow within an epoch, not necessarily by one. A new epoch means that the
    sequence began again, so positions of different epochs can't be compared.
    """

    epoch: str
    offset: int = Field(ge=0)


class Member(Model):
    """A user, as other users see them."""

    id: str
    name: str

    @classmethod
    def of(cls, user: User) -> "Member":
        return cls(id=user.id, name=user.name)


# --- Client to server ---------------------------------------------------------


class Join(Model):
    """Enter a room.

    With `since`, the publications after that position follow; without it, the most
    recent ones.
    """

    type: Literal["join"]
    room: RoomName
    since: Position | None = None


class Leave(Model):
    """Leave a room. The answer is `left`."""

    type: Literal["leave"]
    room: RoomName


class Publish(Model):
    """Send an event to everybody in `room`.

    While the room remembers the message, the same `id` is not delivered again.
    """

    type: Literal["publish"]
    room: RoomName
    id: MessageId
    event: str
    data: Event


class SendSignal(Model):
    """Send a signal to everybody else in `room`."""

    type: Literal["signal"]
    room: RoomName
    event: str
    data: Signal


class MakeCall(Model):
    """Ask the application something. The answer is a `result`, or an `error` with `ref`."""

    type: Literal["call"]
    id: MessageId
    event: str
    data: Event


class GetHistory(Model):
    """Ask for messages before an offset, or for the newest ones."""

    type: Literal["history"]
    room: RoomName
    before: int | None = Field(default=None, ge=0)
    limit: int = Field(default=PAGE, ge=1, le=PAGE)


class Ping(Model):
    """Ask for a `pong`: browsers can't send protocol pings."""

    type: Literal["ping"]


ErrorCode = Literal[
    "invalid",
    "unavailable",
    "forbidden",
    "not_joined",
    "rate_limited",
    "too_many_rooms",
    "refused",
    "internal",
]

# --- Server to client ---------------------------------------------------------


class Welcome(Model):
    """The first message on every accepted socket.

    A client that has received nothing for `heartbeat` seconds sends `ping`. It considers
    the connection dead when the same time passes again without an answer. 0 means that
    no heartbeat is needed.
    """

    type: Literal["welcome"] = "welcome"
    connection: str
    user: Member
    heartbeat: float


class Joined(Model):
    """The answer to `join`: live messages after `offset` follow.

    With `recovered`, every message between `since` and `offset` comes first. If they could
    not be recovered, none of them comes. Without `since`, the most recent ones come.
    `count` is the number of users in the room. In one with more than PRESENCE_MEMBERS,
    `members` is absent.
    """

    type: Literal["joined"] = "joined"
    room: str
    epoch: str
    offset: int
    recovered: bool
    count: int
    members: Sequence[Member] | None = None


class Left(Model):
    """This connection is not in the room any more. `evicted`: the application removed the user."""

    type: Literal["left"] = "left"
    room: str
    reason: Literal["evicted"] | None = None


class Presence(Model):
    """Users entered a room or left it. Several connections of a user count as one.

    `user` is the one who did, or `users` those who did in the same moment. A message may
    repeat what `joined` said. In a room with more than PRESENCE_MEMBERS users there are
    neither: `count` says how many there are. When it has become small again, `members` are
    all of them.
    """

    type: Literal["presence"] = "presence"
    room: str
    user: Member | None = None
    users: Sequence[Member] | None = None
    event: Literal["join", "leave"] | None = None
    count: int | None = None
    members: Sequence[Member] | None = None


class Resync(Model):
    """This connection has lost messages before this position: join again."""

    type: Literal["resync"] = "resync"
    room: str
    epoch: str
    offset: int


class Error(Model):
    """Why a message was not carried out. `ref` is the id of a publish or a call."""

    type: Literal["error"] = "error"
    code: ErrorCode
    detail: str
    room: str | None = None
    ref: str | None = None


class Pong(Model):
    """The answer to `ping`."""

    type: Literal["pong"] = "pong"


ServerMessage = Welcome | Joined | Left | Presence | Resync | Error | Pong
"""What one connection or all members of a room are sent, beside what carries an event."""

# What carries an event. `payloads.py` writes these as text, from data that is JSON already.


class RoomMessage(Model):
    """An event of a room, to all of its members: for the sender, it is the acknowledgement.

    Without `sender` it comes from the application.
    """

    type: Literal["message"] = "message"
    room: str
    offset: int
    id: str
    event: str
    data: Event
    sender: Member | None = None
    sent_at: datetime


class RoomSignal(Model):
    """A signal, to all members of a room but the sender.

    Without `sender` it comes from the application.
    """

    type: Literal["signal"] = "signal"
    room: str
    sender: Member | None = None
    event: str
    data: Signal


class Result(Model):
    """The answer to a `call`. Without `event`, the application had nothing to say."""

    type: Literal["result"] = "result"
    id: str
    event: str | None = None
    data: Event | None = None


class History(Model):
    """The answer to `history`: the newest message last.

    `complete` says that the room remembers nothing older.
    """

    type: Literal["history"] = "history"
    room: str
    epoch: str
    messages: Sequence[RoomMessage]
    complete: bool
