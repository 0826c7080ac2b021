"""Events and signals: what an application sends, declared as Pydantic models.

    class OrderShipped(Event, event="order.shipped"):
        order: int

    class Typing(Signal, event="chat.typing", from_clients=True):
        pass

An application declares its own in `app/events.py`.
"""

import re
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import ClassVar, Self, TypeVar, Unpack

from pydantic import BaseModel, ConfigDict

NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")

Kind = TypeVar("Kind", bound="EventModel")


class EventModel(BaseModel):
    """What events and signals have in common. Inherit from one of those."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    __event__: ClassVar[str] = ""
    __from_clients__: ClassVar[bool] = False

    def __init_subclass__(
        cls, *, event: str = "", from_clients: bool = False, **config: Unpack[ConfigDict]
    ) -> None:
        """Declare an event. A class without `event` is only a base for others.

        `event` is its name on the wire: 1 to 64 letters, digits, `_`, `.`, `:` and `-`.
        With `from_clients`, clients may send it; else only the application does.
        """
        super().__init_subclass__(**config)
        if event and not NAME.fullmatch(event):
            raise TypeError(f"{cls.__name__}: {event!r} can't be the name of an event")
        cls.__event__ = event
        cls.__from_clients__ = from_clients

    def to_json(self) -> str:
        """The JSON that goes on the wire as `data`."""
        return self.__pydantic_serializer__.to_json(self).decode()


class Event(EventModel):
    """Something that happened. Rooms remember it, and a publisher learns that it was taken."""


class Signal(EventModel):
    """Something not worth remembering, such as a cursor's position. It may be lost.

    For a client that is too slow, only the newest of each sender and event counts.
    """


class UnknownEvent(ValueError):
    """The application has no event of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no event {name!r} in app/events.py")


class Events:
    """The events and signals of an application, by name."""

    def __init__(self, models: Iterable[type[EventModel]]) -> None:
        """Raises TypeError when two have the same name."""
        self._models: dict[str, type[EventModel]] = {}
        for model in models:
            known = self._models.setdefault(model.__event__, model)
            if known is not model:
                raise TypeError(
                    f"{known.__name__} and {model.__name__} are both the event {model.__event__!r}"
                )

    @classmethod
    def of(cls, module: ModuleType) -> Self:
        """All that a module defines or imports."""
        found = [it for it in vars(module).values() if isinstance(it, type)]
        return cls(it for it in found if issubclass(it, EventModel) and it.__event__)

    def __iter__(self) -> Iterator[type[EventModel]]:
        return iter(self._models.values())

    def from_clients(self, kind: type[Kind]) -> list[type[Kind]]:
        """The events, or the signals, that clients may send."""
        return [it for it in self if issubclass(it, kind) and it.__from_clients__]

    def get(self, name: str) -> type[EventModel] | None:
        return self._models.get(name)

    def read(self, name: str, data: str | bytes) -> Event | Signal:
        """Read an event from the JSON of its data.

        Raises UnknownEvent, and pydantic's ValidationError for data that does not fit.
        """
        model = self._models.get(name)
        if model is None:
            raise UnknownEvent(name)
        event = model.model_validate_json(data)
        assert isinstance(event, Event | Signal)  # noqa: S101 - there are no other kinds
        return event
