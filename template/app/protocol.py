"""Version 1 of the wire protocol: every message, and the close codes.

A frame is UTF-8 JSON text and holds one message. Unknown fields are ignored, so
that either side may be upgraded first.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import IntEnum
from struct import pack
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

SUBPROTOCOL = "realtime.v1"

TEXT_FRAME = 0x81
"""First byte of a text frame that is a whole message (RFC 6455 section 5.2)."""

RoomName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
PublicationId = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class CloseCode(IntEnum):
    """Why this application closes a socket (RFC 6455 section 7.4.1; from 4000 on, ours)."""

    UNSUPPORTED_DATA = 1003
    POLICY_VIOLATION = 1008
    INTERNAL_ERROR = 1011
    TRY_AGAIN_LATER = 1013


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


def to_json(model: Model) -> bytes:
    """The JSON of a model, without fields that have no value."""
    # What `model_dump_json` calls, at half its price.
    return model.__pydantic_serializer__.to_json(model, exclude_none=True)


class Position(Model):
    """A place in a room's sequence of publications.

    Offsets count up by one within an epoch. Another epoch means that the count
    began anew, so positions of different epochs can't be compared.
    """

    epoch: str
    offset: int = Field(ge=0)


# --- Client to server ---------------------------------------------------------


class Join(Model):
    """Enter a room; `since` asks for what was published after that position.

    Without it, the most recent messages come.
    """

    type: Literal["join"]
    room: RoomName
    since: Position | None = None


class Leave(Model):
    type: Literal["leave"]
    room: RoomName


class Publish(Model):
    """Send `text` to everybody in `room`, under an `id` of the client's own.

    While the room remembers the message, the same `id` is not delivered again.
    """

    type: Literal["publish"]
    room: RoomName
    id: PublicationId
    text: Text


class Ping(Model):
    """Ask for a `pong`: browsers can't send protocol pings."""

    type: Literal["ping"]


ClientMessage = Annotated[Join | Leave | Publish | Ping, Field(discriminator="type")]

_client_message: TypeAdapter[ClientMessage] = TypeAdapter(ClientMessage)
_object: TypeAdapter[dict[str, object]] = TypeAdapter(dict[str, object])


class InvalidMessage(ValueError):
    """A frame that is not a client message, with what the `error` should name."""

    def __init__(self, detail: str, room: str | None, ref: str | None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.room = room
        self.ref = ref


def parse_client_message(frame: str) -> ClientMessage:
    """Read a text frame. Raises InvalidMessage with a sentence for its sender."""
    try:
        return _client_message.validate_json(frame)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in problem["loc"][1:])
        detail = f"{field}: {problem['msg']}" if field else problem["msg"]
        raise InvalidMessage(detail, *what_it_names(frame)) from None


def what_it_names(frame: str) -> tuple[str | None, str | None]:
    """The room and the publication id that a frame names, as far as they are strings."""
    try:
        fields = _object.validate_json(frame)
    except ValidationError:
        fields = {}
    room, ref = fields.get("room"), fields.get("id")
    return (
        room[:64] if isinstance(room, str) else None,
        ref[:64] if isinstance(ref, str) else None,
    )


# --- Server to client ---------------------------------------------------------


class Welcome(Model):
    """The first message on every accepted socket.

    A client that has heard nothing for `heartbeat` seconds sends `ping`, and
    takes the connection for dead when as much time passes again without an
    answer; 0 asks for no heartbeat.
    """

    type: Literal["welcome"] = "welcome"
    connection: str
    user: str
    heartbeat: float


class Joined(Model):
    """The answer to `join`: live messages follow from `offset` + 1 on.

    `recovered` says that every message between `since` and there comes first. Where
    that can't be, none of them comes. Without `since`, the most recent ones do.
    """

    type: Literal["joined"] = "joined"
    room: str
    epoch: str
    offset: int
    recovered: bool
    members: list[str]


class Left(Model):
    type: Literal["left"] = "left"
    room: str


class Message(Model):
    """A publication, to every member. To its sender it is the acknowledgement."""

    type: Literal["message"] = "message"
    room: str
    id: str
    offset: int
    sender: str
    text: str
    sent_at: datetime


class Presence(Model):
    """A user came to a room, or left it. The tabs of a user count as one."""

    type: Literal["presence"] = "presence"
    room: str
    user: str
    event: Literal["join", "leave"]


class Resync(Model):
    """Messages before this position were lost to this connection: join again."""

    type: Literal["resync"] = "resync"
    room: str
    epoch: str
    offset: int


class Error(Model):
    """Why a message was not carried out; `ref` is the id of a publish."""

    type: Literal["error"] = "error"
    code: Literal["invalid", "unavailable", "not_joined", "rate_limited", "too_many_rooms"]
    detail: str
    room: str | None = None
    ref: str | None = None


class Pong(Model):
    type: Literal["pong"] = "pong"


ServerMessage = Welcome | Joined | Left | Message | Presence | Resync | Error | Pong


class Frames(NamedTuple):
    """Messages as they go to any number of clients, encoded once."""

    wire: bytes
    """WebSocket frames (RFC 6455 section 5.2), one after the other."""
    messages: int

    @property
    def payloads(self) -> list[bytes]:
        """The JSON of each message."""
        payloads = []
        start = 0
        while start < len(self.wire):
            length, begin = self.wire[start + 1], start + 2
            if length >= 126:
                begin += 2 if length == 126 else 8
                length = int.from_bytes(self.wire[start + 2 : begin], "big")
            start = begin + length
            payloads.append(self.wire[begin:start])
        return payloads


def encode(message: ServerMessage) -> Frames:
    """A message as a single frame; fields that have no value are left out."""
    payload = to_json(message)
    size = len(payload)
    if size < 126:
        header = bytes((TEXT_FRAME, size))
    elif size < 65536:
        header = pack("!BBH", TEXT_FRAME, 126, size)
    else:
        header = pack("!BBQ", TEXT_FRAME, 127, size)
    return Frames(header + payload, 1)


def join_frames(parts: Sequence[Frames]) -> Frames:
    """Several frames as one piece, which a socket takes in one write."""
    if len(parts) == 1:
        return parts[0]
    return Frames(b"".join([part.wire for part in parts]), sum(part.messages for part in parts))
