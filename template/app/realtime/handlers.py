"""What the application does when a client calls it, or before a client's event is published."""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple, Self, TypeVar

from starlette.datastructures import State

from app.realtime.connection import Connection
from app.realtime.events import Event
from app.realtime.identity import User
from app.realtime.publisher import Publisher

Sent = TypeVar("Sent", bound=Event)
Returned = TypeVar("Returned", bound=Event | None)
Function = TypeVar("Function", bound=Callable[..., Any])

MARKS = "_handled_events"


class Refused(Exception):
    """Raise it in a handler to refuse, with a sentence for the client.

    The client receives `error` with the code `refused` and this sentence.
    """


@dataclass(frozen=True, slots=True)
class Request:
    """Who sent a message, and what a handler may need to carry it out."""

    id: str
    """The id that the client gave to the publish or the call."""
    user: User
    connection: Connection
    publisher: Publisher
    state: State
    """The application's `app.state`."""


@dataclass(frozen=True, slots=True)
class Call(Request):
    """A call, which its client waits for."""


@dataclass(frozen=True, slots=True)
class Pending(Request):
    """A client's publication that has not gone out yet."""

    room: str


AnsweringCalls = Callable[[Sent, Call], Awaitable[Returned]]
BeforePublishing = Callable[[Sent, Pending], Awaitable[None]]


class Mark(NamedTuple):
    """What a function was decorated with."""

    decorator: str
    event: type[Event]


def handles(
    event: type[Sent],
) -> Callable[[AnsweringCalls[Sent, Returned]], AnsweringCalls[Sent, Returned]]:
    """Have clients `call` a function with this event. What it returns is the `result`.

    While it runs, further messages of the same connection wait. Other connections don't.
    """

    def decorate(function: AnsweringCalls[Sent, Returned]) -> AnsweringCalls[Sent, Returned]:
        return mark(function, Mark("handles", event))

    return decorate


def before(
    event: type[Sent],
) -> Callable[[BeforePublishing[Sent]], BeforePublishing[Sent]]:
    """Have a function called before a client's event is published: to store it, or refuse it.

    A client that saw no acknowledgement publishes again, with the same id. Then the
    function is called again too. It is not called for what the application publishes.
    """

    def decorate(function: BeforePublishing[Sent]) -> BeforePublishing[Sent]:
        return mark(function, Mark("before", event))

    return decorate


def mark(function: Function, new: Mark) -> Function:
    is_async: bool = inspect.iscoroutinefunction(function)
    if not is_async:
        raise TypeError(f"{name_of(function)} must be an async function")
    if not (issubclass(new.event, Event) and new.event.__event__):
        raise TypeError(f"{new.event.__name__} must be an Event with a name: event=…")
    setattr(function, MARKS, [*getattr(function, MARKS, ()), new])
    return function


def name_of(function: Callable[..., object]) -> str:
    return getattr(function, "__qualname__", repr(function))


class Handlers:
    """The handlers of an application, by event."""

    def __init__(self, functions: Iterable[Callable[..., Any]] = ()) -> None:
        """Raises TypeError when two functions handle the same event."""
        self.calls: dict[type[Event], AnsweringCalls[Any, Event | None]] = {}
        self.before: dict[type[Event], BeforePublishing[Any]] = {}
        tables: dict[str, dict[type[Event], Callable[..., Any]]]
        tables = {"handles": self.calls, "before": self.before}
        for function in functions:
            for decorator, event in getattr(function, MARKS, ()):
                known: Callable[..., Any] = tables[decorator].setdefault(event, function)
                if known is not function:
                    raise TypeError(
                        f"{name_of(known)} and {name_of(function)} are both "
                        f"@{decorator}({event.__name__})"
                    )

    @classmethod
    def of(cls, module: ModuleType) -> Self:
        """All that a module defines or imports."""
        return cls(it for it in vars(module).values() if inspect.isfunction(it))
