"""What an application and its clients send each other: its events, signals and calls."""

from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from app.realtime.events import Event, Events, Signal


class CallMessages(NamedTuple):
    """A call that clients may make, and what it returns."""

    event: type[Event]
    results: Sequence[type[Event]]
    may_be_empty: bool
    """Whether the handler may return None, so that the result has neither event nor data."""


class Messages(NamedTuple):
    """All of them, each kind in the order of `app/events.py` and `app/handlers.py`."""

    events: Sequence[type[Event]]
    """What a room may receive as messages."""
    publishes: Sequence[type[Event]]
    """Those of them that clients may publish."""
    signals: Sequence[type[Signal]]
    sends: Sequence[type[Signal]]
    """The signals that clients may send."""
    calls: Sequence[CallMessages]

    @classmethod
    def of(cls, events: Events, handlers: Mapping[type[Event], Callable[..., Any]]) -> "Messages":
        """Those of an application. `handlers` are the functions that answer calls, by event."""
        known = [it for it in events if issubclass(it, Event)]
        return cls(
            events=known,
            publishes=events.from_clients(Event),
            signals=[it for it in events if issubclass(it, Signal)],
            sends=events.from_clients(Signal),
            calls=[
                CallMessages(event, *results_of(handler, known))
                for event, handler in handlers.items()
            ],
        )


def results_of(
    handler: Callable[..., Any], known: Sequence[type[Event]]
) -> tuple[list[type[Event]], bool]:
    """The events that a handler may return, and whether it may return None.

    They are read from its return annotation. Without one, or with `Event`, any of the
    `known` events may be the result. Raises TypeError for an annotation that is no event.
    """
    returned = get_type_hints(handler).get("return", Event | None)
    alternatives = get_args(returned) if get_origin(returned) in (Union, UnionType) else [returned]
    results: list[type[Event]] = []
    for alternative in alternatives:
        if alternative is NoneType:
            continue
        if alternative is Any or alternative is Event:
            results += known
        elif isinstance(alternative, type) and issubclass(alternative, Event):
            results.append(alternative)
        else:
            raise TypeError(f"{handler.__qualname__} must return an Event, not {alternative!r}")
    return list(dict.fromkeys(results)), NoneType in alternatives or Any in alternatives
