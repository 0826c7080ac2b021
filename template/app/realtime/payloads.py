"""What travels through the broker, and the messages that are made from it.

A publication travels as the JSON that its receivers get, except for its type, room and
offset. So it is encoded once, by its publisher. What comes from another process is checked.
"""

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from json.encoder import encode_basestring as json_string
from typing import Any, TypeVar

from pydantic import ConfigDict

from app.realtime.events import Event, Signal
from app.realtime.identity import User
from app.realtime.protocol import Member, Model

Body = TypeVar("Body", bound=Model)


class OwnBody(str):
    """What this process published, and need not check if its broker hands it back as it is."""

    __slots__ = ("sent_at",)

    sent_at: float
    """Seconds since 1970."""


def publication_body(
    event: Event,
    data: str,
    id: str,  # noqa: A002
    sender: User | None,
) -> OwnBody:
    """What is published to the broker for an event, now. `data` is its JSON."""
    head = '{"id":' + json_string(id) + ',"event":' + json_string(event.__event__)
    now = time.time()
    sent_at = utc(datetime.fromtimestamp(now, UTC))
    body = OwnBody(f'{head},"data":{data},{sender_field(sender)}"sent_at":"{sent_at}"}}')
    body.sent_at = now
    return body


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
    return moment.isoformat().replace("+00:00", "Z")


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


def read_publication(body: str) -> float:
    """Check what the broker delivered as a publication.

    Returns when it was sent, in seconds since 1970. Raises MalformedBody. Afterwards the
    body can be part of a frame as it is.
    """
    if isinstance(body, OwnBody):
        return body.sent_at
    return read_body(PublicationBody, body).sent_at.timestamp()


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


def result_json(id: str, result: Event | None) -> bytes:  # noqa: A002
    """The answer to a call."""
    answer = '{"type":"result","id":' + json_string(id)
    if result is not None:
        answer += f',"event":{json_string(result.__event__)},"data":{result.to_json()}'
    return (answer + "}").encode()


def history_json(room: str, epoch: str, messages: Sequence[bytes], *, complete: bool) -> bytes:
    """The answer to `history`, from messages that are encoded already."""
    head = '{"type":"history","room":"' + f'{room}","epoch":{json_string(epoch)},"messages":['
    tail = f'],"complete":{"true" if complete else "false"}}}'
    return head.encode() + b",".join(messages) + tail.encode()
