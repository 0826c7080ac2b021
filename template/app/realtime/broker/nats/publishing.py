"""Publishes records and plain strings, each record once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

from app.realtime.broker.base import PUBLISH_DEADLINE, IdTaken, Record
from app.realtime.broker.nats.connection import Connection
from app.realtime.broker.nats.names import DIGEST, Names, message_id
from app.realtime.broker.nats.publisher import Outgoing, Publisher, Taken
from app.realtime.broker.nats.requests import Outage
from app.realtime.broker.nats.stream import Limits
from app.realtime.protocol import Position

MAX_DUPLICATES = 1000
"""Records that may be compared at once with the one that had their id first."""


class Pending(NamedTuple):
    """Who waits for the position of a record."""

    channel: str
    record: Record
    seen: Position | None
    answer: "asyncio.Future[Position | None]"
    deadline: float


class Publishing:
    """Answers each record with its position, or with that of the first one with its id.

    NATS recognizes ids for as long as the stream keeps its records, and also those that are
    not remembered any more because there were too many after them. Such a record is published
    under another id, which follows from the first record. So it is delivered once, even if
    several workers do that at the same time.
    """

    def __init__(
        self, names: Names, limits: Limits, connection: Connection, publisher: Publisher
    ) -> None:
        self._names = names
        self._limits = limits
        self._connection = connection
        self._publisher = publisher
        self._tasks: asyncio.TaskGroup | None = None
        self._duplicates = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Publish for the length of the block."""
        async with self._publisher.running(), asyncio.TaskGroup() as self._tasks:
            yield

    def submit(
        self, channel: str, message: str | Record, seen: Position | None
    ) -> "asyncio.Future[Position | None]":
        """Publish a message. The future may get an error of `Outage`, or `IdTaken`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PUBLISH_DEADLINE
        answer: asyncio.Future[Position | None] = loop.create_future()
        if isinstance(message, str):
            subject = self._names.plain(channel)
            outgoing = Outgoing(channel, subject, message.encode(), None, deadline)
            outgoing.taken.add_done_callback(partial(self._plain_taken, answer))
        else:
            pending = Pending(channel, message, seen, answer, deadline)
            outgoing = self._outgoing(pending)
            outgoing.taken.add_done_callback(partial(self._taken, pending))
        self._publisher.submit(outgoing)
        return answer

    def _outgoing(self, pending: Pending, replaces: int = 0) -> Outgoing:
        channel, record = pending.channel, pending.record
        headers: dict[str, str] = {}
        if self._limits.size:
            headers["Nats-Msg-Id"] = message_id(channel, record.id, replaces)
            headers[DIGEST] = record.digest
        subject, payload = self._names.record(channel), record.message.encode()
        return Outgoing(channel, subject, payload, headers, pending.deadline)

    def _plain_taken(
        self,
        answer: "asyncio.Future[Position | None]",
        taken: "asyncio.Future[Taken | None]",
    ) -> None:
        settle(answer, None if taken.cancelled() else taken.exception())

    def _taken(self, pending: Pending, taken: "asyncio.Future[Taken | None]") -> None:
        """Take the stream's answer to a record."""
        error = None if taken.cancelled() else taken.exception()
        if error is not None:
            settle(pending.answer, error)
            return
        result = taken.result()
        if result is None or pending.answer.done():
            return
        if not result.is_duplicate:
            settle(pending.answer, self._position(pending, result))
        elif self._tasks is None or self._duplicates >= MAX_DUPLICATES:
            settle(pending.answer, ConnectionError("too many messages are published again"))
        else:
            self._duplicates += 1
            self._tasks.create_task(self._answer_duplicate(pending, result))

    def _position(self, pending: Pending, taken: Taken) -> Position | Exception:
        stream = self._connection.stream
        if stream is None:
            return ConnectionError("the stream is not known")
        self._connection.note(taken.sequence)
        seen = pending.seen
        if seen is not None and seen.epoch == stream.epoch and taken.sequence <= seen.offset:
            self._connection.restart("the stream has lost messages", stream.generation)
            return ConnectionError("the stream has lost messages")
        return Position(epoch=stream.epoch, offset=taken.sequence)

    async def _answer_duplicate(self, pending: Pending, taken: Taken) -> None:
        try:
            async with asyncio.timeout_at(pending.deadline):
                settle(pending.answer, await self._find_first(pending, taken))
        except (*Outage, ValueError, KeyError) as error:
            settle(pending.answer, error)
        finally:
            self._duplicates -= 1

    async def _find_first(self, pending: Pending, taken: Taken) -> Position | Exception:
        """The position of the record that has the id, or of this one, if there is none."""
        while taken.is_duplicate:
            link = self._connection.link
            first = await link.reader.at(pending.channel, taken.sequence, self._limits)
            if first is not None:
                if first.digest != pending.record.digest:
                    return IdTaken(pending.record.id)
                return Position(epoch=link.stream.epoch, offset=taken.sequence)
            outgoing = self._outgoing(pending, replaces=taken.sequence)
            self._publisher.submit(outgoing)
            again = await outgoing.taken
            if again is None:
                return ConnectionError("NATS did not take the message")
            taken = again
        return self._position(pending, taken)


def settle(
    answer: "asyncio.Future[Position | None]", result: Position | BaseException | None
) -> None:
    """Answer whoever waits, if somebody still does."""
    if answer.done():
        return
    if isinstance(result, BaseException):
        answer.set_exception(result)
    else:
        answer.set_result(result)
