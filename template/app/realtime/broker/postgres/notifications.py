"""What PostgreSQL notifies of, and messages that are too large for a notification."""

import asyncio
import logging
from collections import deque
from functools import partial
from typing import NamedTuple

from broadcaster import Event

from app.realtime.broker.base import Listener, Publication, Resubscribed
from app.realtime.broker.outage import describe
from app.realtime.broker.postgres.pipeline import Pipeline
from app.realtime.protocol import Position

logger = logging.getLogger(__name__)

MAX_HELD = 10_000
"""Events that may wait for a large message before them. A channel with one more reads history."""

MAX_OFFSET = 2**63 - 1
"""What fits into a bigint."""


class Reference(NamedTuple):
    """A message that has to be read, because it does not fit into a notification."""

    number: int
    position: Position | None
    """None for a plain string."""
    previous: int

    def event(self, channel: str, message: str) -> Event:
        """The event, once the message is there."""
        if self.position is None:
            return Event(channel, message)
        return Publication(channel, message, self.position, self.previous)


def decode(channel: str, text: str) -> Event | Reference:
    """Read a notification, without the name of the channel before it.

    It is "p<epoch> <offset> <previous> <message>" for a publication and "s<number> <message>"
    for a plain string. With a capital, the number of the message is in its place. Raises
    ValueError for anything else.
    """
    kind, fields = text[:1], text[1:]
    if kind in {"s", "S"}:
        _, message = fields.split(" ", 1)
        return Event(channel, message) if kind == "s" else Reference(number_in(message), None, 0)
    if kind not in {"p", "P"}:
        raise ValueError("there is no such kind")
    epoch, offset, previous, message = fields.split(" ", 3)
    position = Position(epoch=epoch, offset=number_in(offset))
    before = number_in(previous)
    if not (epoch and before < position.offset):
        raise ValueError("the offsets don't grow")
    if kind == "p":
        return Publication(channel, message, position, before)
    return Reference(number_in(message), position, before)


def number_in(text: str) -> int:
    number = int(text)
    if not 0 <= number <= MAX_OFFSET:
        raise ValueError("the number is not one of PostgreSQL's")
    return number


class Waiting(NamedTuple):
    """An event that has to wait, or a message that is being read."""

    event: Event | Reference
    message: asyncio.Future[bytes | None] | None


class Held:
    """Events that wait for a large message before them, in the order of their channel.

    Other channels don't wait. When a message can't be read, its channel gets `Resubscribed`,
    so that it reads history.
    """

    def __init__(self, large: Pipeline, deliver: Listener) -> None:
        """`large` answers with the message of a number, or None if it is not there."""
        self._large = large
        self._deliver = deliver
        self._queues: dict[str, deque[Waiting]] = {}
        self._count = 0

    def __contains__(self, channel: str) -> bool:
        return channel in self._queues

    def add(self, channel: str, event: Event | Reference) -> None:
        """Deliver an event after all that are held in its channel."""
        if self._count >= MAX_HELD:
            logger.warning("too much waits for a large message", extra={"channel": channel})
            self.drop(channel)
            self._deliver(Resubscribed(channel))
            return
        message = None
        if isinstance(event, Reference):
            message = self._large.submit(event.number)
            message.add_done_callback(partial(self._release, channel))
        self._queues.setdefault(channel, deque()).append(Waiting(event, message))
        self._count += 1

    def drop(self, channel: str) -> None:
        """Forget what is held in a channel."""
        for waiting in self._queues.pop(channel, ()):
            self._count -= 1
            if waiting.message is not None:
                waiting.message.cancel()

    def clear(self) -> None:
        """Forget everything."""
        for channel in list(self._queues):
            self.drop(channel)

    def _release(self, channel: str, message: asyncio.Future[bytes | None]) -> None:
        """Deliver what waited for a message, up to the next one that is not there yet."""
        if not message.cancelled():
            message.exception()  # which is looked at when its turn comes
        queue = self._queues.get(channel)
        while queue and (queue[0].message is None or queue[0].message.done()):
            waiting = queue.popleft()
            self._count -= 1
            self._deliver(received(channel, waiting))
        if not queue:
            self._queues.pop(channel, None)


def received(channel: str, waiting: Waiting) -> Event:
    """The event, with its message; `Resubscribed` if that could not be read."""
    event, message = waiting
    if not isinstance(event, Reference):
        return event
    error, content = None, None
    if message is not None and not message.cancelled():
        error = message.exception()
        content = None if error is not None else message.result()
    if content is None:
        reason = "it is not there" if error is None else describe(error)
        logger.warning("could not read a large message: %s", reason, extra={"channel": channel})
        return Resubscribed(channel)
    return event.event(channel, content.decode(errors="replace"))
