"""Every message of an application, with a model for each event that it may carry."""

import re
from collections.abc import Iterator, Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any, NamedTuple

from pydantic import Field, create_model

from app.realtime.authentication import Authentication
from app.realtime.contract.messages import Messages
from app.realtime.contract.schemas import Direction
from app.realtime.events import EventModel
from app.realtime.parser import variant
from app.realtime.protocol import (
    Error,
    GetHistory,
    History,
    Join,
    Joined,
    Leave,
    Left,
    MakeCall,
    Model,
    Ping,
    Pong,
    Presence,
    Publish,
    Result,
    Resync,
    RoomMessage,
    RoomSignal,
    SendSignal,
    Welcome,
)

BEFORE_EVENTS: Sequence[type[Model]] = (Welcome, Joined, Left)
AFTER_EVENTS: Sequence[type[Model]] = (Presence, Resync, Error, Pong)


class WireMessage(NamedTuple):
    """One kind of frame."""

    key: str
    """Its name in the document, such as `publish.chat.message`."""
    direction: Direction
    model: type[Model]
    description: str
    event: type[EventModel] | None = None

    @property
    def summary(self) -> str:
        """The first paragraph of the description."""
        return self.description.partition("\n\n")[0].replace("\n", " ")

    @property
    def type(self) -> str:
        """The value of its field `type`."""
        field = self.model.model_fields["type"]
        name: str = field.annotation.__args__[0]  # type: ignore[union-attr] # a Literal
        return name


def wire_messages(messages: Messages, authentication: Authentication) -> list[WireMessage]:
    """What clients send, and then what the server sends. Keys are unique."""
    found = [*sent(messages, authentication), *received(messages)]
    taken: set[str] = set()
    unique = []
    for message in found:
        key, number = message.key, 2
        while key in taken:
            key, number = f"{message.key}{number}", number + 1
        taken.add(key)
        unique.append(message._replace(key=key))
    return unique


def sent(messages: Messages, authentication: Authentication) -> Iterator[WireMessage]:
    security = authentication.security
    if security is not None and security.first_message is not None:
        yield plain("sent", security.first_message)
    yield from [plain("sent", Join), plain("sent", Leave)]
    yield from carrying("sent", Publish, "publish", messages.publishes)
    yield from carrying("sent", SendSignal, "send_signal", messages.sends)
    yield from carrying("sent", MakeCall, "call", [call.event for call in messages.calls])
    yield plain("sent", GetHistory)._replace(key="get_history")
    yield from [plain("sent", model) for model in authentication.messages]
    yield plain("sent", Ping)


def received(messages: Messages) -> Iterator[WireMessage]:
    yield from [plain("received", model) for model in BEFORE_EVENTS]
    in_rooms = list(carrying("received", RoomMessage, "message", messages.events))
    yield from in_rooms
    yield from carrying("received", RoomSignal, "signal", messages.signals)
    results = dict.fromkeys(result for call in messages.calls for result in call.results)
    yield from carrying("received", Result, "result", list(results))
    if any(call.may_be_empty for call in messages.calls):
        empty = create_model("EmptyResult", __base__=Model, **EMPTY_RESULT)
        yield WireMessage("result", "received", empty, text_of(Result))
    yield WireMessage(
        "history", "received", history([it.model for it in in_rooms]), text_of(History)
    )
    yield from [plain("received", model) for model in AFTER_EVENTS]


EMPTY_RESULT: dict[str, Any] = {
    name: (Result.model_fields[name].annotation, Result.model_fields[name])
    for name in ("type", "id")
}


def plain(direction: Direction, model: type[Model]) -> WireMessage:
    """A message that carries no event. Its key is its type."""
    message = WireMessage("", direction, model, text_of(model))
    return message._replace(key=message.type)


def carrying(
    direction: Direction, model: type[Model], name: str, events: Sequence[type[EventModel]]
) -> Iterator[WireMessage]:
    """A message for each event. The key is `name` and the event's name."""
    for event in events:
        text = "\n\n".join(part for part in (text_of(event), text_of(model)) if part)
        key = re.sub(r"[^\w.-]", "_", f"{name}.{event.__event__}")
        yield WireMessage(key, direction, variant(model, event), text, event)


def history(in_rooms: Sequence[type[Model]]) -> type[Model]:
    """The answer to `history`, with what its messages may be."""
    if not in_rooms:
        return History
    alternatives: Any = reduce(or_, in_rooms)
    if len(in_rooms) > 1:
        alternatives = Annotated[alternatives, Field(discriminator="event")]
    return create_model("History", __base__=History, messages=(list[alternatives], ...))


def text_of(model: type[Model] | type[EventModel]) -> str:
    """The docstring of a model, without its indentation."""
    return "\n".join(line.strip() for line in (model.__doc__ or "").strip().splitlines())
