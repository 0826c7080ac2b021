"""Version 1 of the wire protocol: every message, and the close codes.

A frame is UTF-8 JSON text and holds one message. Unknown fields are ignored, so that
clients and servers can be upgraded in any order.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from functools import reduce
from json.encoder import encode_basestring as json_string
from operator import or_
from struct import pack
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    create_model,
)

from app.realtime.events import Event, EventModel, Events, Signal
from app.realtime.identity import OWN_ROOM, User

SUBPROTOCOL = "realtime.v1"

TEXT_FRAME = 0x81
"""First byte of a text frame that is a whole message (RFC 6455 section 5.2)."""

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


Body = TypeVar("Body", bound=Model)


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

Refusal = tuple[Literal["invalid", "forbidden"], str]
"""An error's code and its sentence."""

ClientMessage = Join | Leave | Publish | SendSignal | MakeCall | GetHistory | Ping | Model
"""The last stands for messages that a style of auth adds."""


class InvalidMessage(ValueError):
    """A frame that can't be carried out as it is, and what the `error` should say."""

    def __init__(
        self, code: Literal["invalid", "forbidden"], detail: str, room: str | None, ref: str | None
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.room = room
        self.ref = ref


class ClientMessages:
    """Reads the messages that clients of one application send."""

    def __init__(
        self,
        events: Events,
        calls: Collection[type[Event]] = (),
        more: Sequence[type[Model]] = (),
    ) -> None:
        """`calls` are the events that clients may call; `more` are further messages."""
        self._events = events
        accepted: dict[type[Model], Sequence[type[EventModel]]] = {
            Publish: events.from_clients(Event),
            SendSignal: events.from_clients(Signal),
            MakeCall: [*calls],
        }
        kinds = ("publish", "signal", "call")
        self._accepted = {
            kind: {it.__event__ for it in known}
            for kind, known in zip(kinds, accepted.values(), strict=True)
        }
        messages: list[Any] = [Join, Leave, GetHistory, Ping, *more]
        messages += [variants(message, known) for message, known in accepted.items() if known]
        union: Any = Annotated[reduce(or_, messages), Field(discriminator="type")]
        self._adapter: TypeAdapter[ClientMessage] = TypeAdapter(union)

    def parse(self, frame: str) -> ClientMessage:
        """Read a text frame. Raises InvalidMessage with a sentence for the client."""
        try:
            return self._adapter.validate_json(frame)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
        fields = fields_of(frame)
        code, detail = self._refusal_of_event(fields) or self._invalid(fields, problem)
        room, ref = names_in(fields)
        raise InvalidMessage(code, detail, room, ref)

    def _invalid(self, fields: dict[str, Any], problem: Mapping[str, Any]) -> Refusal:
        """What pydantic found, with the name of the field."""
        path = [str(part) for part in problem["loc"][1:]]
        if path and path[0] in self._accepted.get(str(fields.get("type")), ()):
            del path[0]
        field = ".".join(path)
        return "invalid", f"{field}: {problem['msg']}" if field else problem["msg"]

    def _refusal_of_event(self, fields: dict[str, Any]) -> Refusal | None:
        """Why clients can't send the event that a frame names, if that is what is wrong."""
        kind, name = fields.get("type"), fields.get("event")
        if not isinstance(kind, str) or not isinstance(name, str):
            return None
        if kind not in self._accepted or name in self._accepted[kind]:
            return None
        shown = ascii(name[:64])
        known = self._events.get(name)
        if known is None:
            return "invalid", f"event: there is no event {shown}"
        if not known.__from_clients__:
            return "forbidden", f"event: only the application sends {shown}"
        return "invalid", f"event: {shown} can't be sent as {kind}"


def variants(message: type[Model], events: Iterable[type[EventModel]]) -> Any:
    """A message for each event, told apart by the event's name."""
    models = []
    for event in events:
        name: Any = Literal[event.__event__]
        title = f"{message.__name__}[{event.__event__}]"
        models.append(create_model(title, __base__=message, event=(name, ...), data=(event, ...)))
    if len(models) == 1:
        return models[0]
    return Annotated[reduce(or_, models), Field(discriminator="event")]


def what_it_names(frame: str) -> tuple[str | None, str | None]:
    """The room and the id that a frame names, as far as they are strings."""
    return names_in(fields_of(frame))


def fields_of(frame: str) -> dict[str, Any]:
    """The fields of a JSON object; empty for anything else."""
    try:
        fields = json.loads(frame)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def names_in(fields: dict[str, Any]) -> tuple[str | None, str | None]:
    """The room and the id among the fields of a message, if they are text."""
    return text_of(fields.get("room")), text_of(fields.get("id"))


def text_of(value: object) -> str | None:
    """The first 64 characters of a string, if it can be sent back."""
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON can escape half of a surrogate pair
        return None
    return value[:64]


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
    `count` is the number of users in the room.
    """

    type: Literal["joined"] = "joined"
    room: str
    epoch: str
    offset: int
    recovered: bool
    count: int
    members: Sequence[Member] | None = None


class Left(Model):
    type: Literal["left"] = "left"
    room: str
    reason: Literal["evicted"] | None = None


class Result(Model):
    """The answer to a `call`. Without `event`, the application had nothing to say."""

    type: Literal["result"] = "result"
    id: str
    event: str | None = None
    data: SerializeAsAny[Event] | None = None


class Presence(Model):
    """A user entered a room or left it. Several connections of a user count as one."""

    type: Literal["presence"] = "presence"
    room: str
    user: Member
    event: Literal["join", "leave"]


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
    type: Literal["pong"] = "pong"


ServerMessage = Welcome | Joined | Left | Result | Presence | Resync | Error | Pong
"""What one connection or all members of a room are sent, beside messages and signals."""


# --- Publications ---------------------------------------------------------------
#
# A publication travels through the broker as the JSON that its receivers get, except for
# its type, room and offset. So it is encoded once, by its publisher.


def publication_body(
    event: Event,
    id: str,  # noqa: A002
    sender: User | None,
    sent_at: datetime,
) -> str:
    """What is published to the broker for an event."""
    head = '{"id":' + json_string(id) + ',"event":' + json_string(event.__event__)
    return f'{head},"data":{event.to_json()},{sender_field(sender)}"sent_at":"{utc(sent_at)}"}}'


def signal_body(signal: Signal, sender: User | None) -> str:
    """What is published to the broker for a signal."""
    head = "{" + sender_field(sender) + '"event":' + json_string(signal.__event__)
    return f'{head},"data":{signal.to_json()}}}'


def sender_field(sender: User | None) -> str:
    if sender is None:
        return ""
    return '"sender":{"id":' + f'{json_string(sender.id)},"name":{json_string(sender.name)}}},'


def utc(moment: datetime) -> str:
    """A time in UTC as in RFC 3339."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"


class MalformedBody(ValueError):
    """A payload from the broker that this application can't have published."""


class Sender(Member):
    """A user, in what the broker delivers."""

    model_config = ConfigDict(extra="forbid")


class PublicationBody(Model):
    """What the broker delivers for an event."""

    model_config = ConfigDict(extra="forbid")

    id: str
    event: str
    data: dict[str, Any]
    sender: Sender | None = None
    sent_at: datetime


class SignalBody(Model):
    """What the broker delivers for a signal."""

    model_config = ConfigDict(extra="forbid")

    sender: Sender | None = None
    event: str
    data: dict[str, Any]


def read_publication(body: str) -> datetime:
    """Check what the broker delivered as a publication. Returns when it was sent.

    Raises MalformedBody. Afterwards the body can be part of a frame as it is.
    """
    return read_body(PublicationBody, body).sent_at


def read_signal(body: str) -> tuple[str, str]:
    """Check what the broker delivered as a signal. Returns the sender's id, or "", and the event.

    Raises MalformedBody. Afterwards the body can be part of a frame as it is.
    """
    signal = read_body(SignalBody, body)
    return signal.sender.id if signal.sender is not None else "", signal.event


def read_body(model: type[Body], body: str) -> Body:
    if not (body.startswith("{") and body.endswith("}")):
        raise MalformedBody
    try:
        if "NaN" in body or "Infinity" in body:  # pydantic takes them as JSON, browsers don't
            json.loads(body, parse_constant=refuse_constant)
        return model.model_validate_json(body)
    except (ValueError, RecursionError):
        raise MalformedBody from None


def refuse_constant(name: str) -> None:
    """Raises MalformedBody for a number that JSON does not have."""
    raise MalformedBody(name)


def message_json(room: str, offset: int, body: str) -> bytes:
    """The message that members get for a publication."""
    return ('{"type":"message","room":"' + f'{room}","offset":{offset},{body[1:]}').encode()


def signal_json(room: str, body: str) -> bytes:
    """The message that members get for a signal."""
    return ('{"type":"signal","room":"' + f'{room}",{body[1:]}').encode()


def history_json(room: str, epoch: str, messages: Sequence[bytes], *, complete: bool) -> bytes:
    """The answer to `history`, from messages that are encoded already."""
    head = '{"type":"history","room":"' + f'{room}","epoch":{json_string(epoch)},"messages":['
    tail = f'],"complete":{"true" if complete else "false"}}}'
    return head.encode() + b",".join(messages) + tail.encode()


# --- Frames ---------------------------------------------------------------------


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
    """A message as a single frame. Fields without a value are left out."""
    return frame(to_json(message))


def frame(payload: bytes) -> Frames:
    """JSON that is encoded already, as a single frame."""
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
