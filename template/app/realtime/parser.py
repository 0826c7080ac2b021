"""Reads what clients send, and says what is wrong with it."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, create_model

from app.realtime.events import Event, EventModel, Events, Signal
from app.realtime.protocol import (
    GetHistory,
    Join,
    Leave,
    MakeCall,
    Model,
    Ping,
    Publish,
    SendSignal,
)

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
    models: list[Any] = [variant(message, event) for event in events]
    if len(models) == 1:
        return models[0]
    return Annotated[reduce(or_, models), Field(discriminator="event")]


def variant(message: type[Model], event: type[EventModel]) -> type[Model]:
    """A message for one event."""
    name: Any = Literal[event.__event__]
    return create_model(
        message.__name__ + event.__name__,
        __base__=message,
        event=(name, ...),
        data=(event, ...),
    )


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
