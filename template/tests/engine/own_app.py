"""The example with events and handlers of its own: `python -m tests.engine.own_app`.

An owner declares them in `app/events.py` and `app/handlers.py`. Here they are added to the
modules of the example before it imports them.
"""

import asyncio
import runpy

from app.realtime import BrokerUnavailable, Call, Event, Pending, Refused, Signal, before, handles
from tests.engine.example import events, handlers


class Order(Event, event="order"):
    """A call."""

    amount: int


class Ordered(Event, event="ordered"):
    """Only the application publishes it."""

    amount: int
    by: str


class Note(Event, event="note", from_clients=True):
    """Passes through a handler before it is published."""

    text: str


class Token(Signal, event="token"):
    """Only the application sends it."""

    text: str


class Slow(Event, event="slow"):
    """A call that takes its time."""

    seconds: float


class Silent(Event, event="silent"):
    """A call that returns nothing."""


@handles(Order)
async def order(order: Order, call: Call) -> Ordered:
    if order.amount > 100:
        raise Refused("at most 100 at a time")
    if order.amount == 13:
        raise LookupError("thirteen")
    if order.amount == 42:
        raise BrokerUnavailable
    ordered = Ordered(amount=order.amount, by=call.user.name)
    for text in ("one", "two"):
        await call.publisher.signal(call.user.room, Token(text=text))
    await call.publisher.notify(call.user.id, ordered, id=call.id)
    return ordered


@handles(Slow)
async def slow(slow: Slow, _: Call) -> None:
    await asyncio.sleep(slow.seconds)


@handles(Silent)
async def silent(_: Silent, call: Call) -> None:
    call.state.was_silent = True


@before(Note)
async def keep(note: Note, publication: Pending) -> None:
    if note.text == "refuse":
        raise Refused("this note is not allowed")
    if note.text == "fail":
        raise LookupError("the note can't be kept")
    echo = Ordered(amount=len(note.text), by=f"{publication.user.id} {publication.id}")
    await publication.publisher.publish(f"{publication.room}.kept", echo)


if __name__ == "__main__":
    vars(events).update({it.__name__: it for it in (Order, Ordered, Note, Token, Slow, Silent)})
    vars(handlers).update(order=order, slow=slow, silent=silent, keep=keep)
    runpy.run_module("tests.engine.example", run_name="__main__")
