"""Appends to a stream of RabbitMQ, and reads it."""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Sequence

from aiormq.abc import AbstractChannel, DeliveredMessage
from aiormq.exceptions import ChannelPreconditionFailed, PublishError
from pamqp.commands import Basic

from app.realtime.broker.log.base import (
    Draft,
    Entry,
    EntryRefused,
    LogConnection,
    LogUnavailable,
    OffsetLost,
    Start,
)
from app.realtime.broker.rabbitmq.batches import DRAFTS, decode, encode, split
from app.realtime.broker.rabbitmq.connection import describe, explained
from app.realtime.broker.rabbitmq.options import Options

PREFETCH = 100
"""Messages that RabbitMQ sends before it waits for an acknowledgement."""

ACKNOWLEDGED = 25
"""Messages that are acknowledged together."""

READ_BYTES = 1024 * 1024
"""Bytes after which `read` returns what it has."""


class StreamConnection(LogConnection):
    """Appends to a stream on one channel, and reads it on another one.

    What is appended together is one message of the stream, if it is not too large.
    """

    def __init__(
        self, options: Options, publisher: AbstractChannel, consumer: AbstractChannel
    ) -> None:
        """The publisher has publisher confirms. The two are on different connections."""
        self._options = options
        self._publisher = publisher
        self._consumer = consumer
        self._delivered: deque[DeliveredMessage] = deque()
        self._something_happened = asyncio.Event()
        self._is_cancelled = False
        self._next: int | None = None
        """The offset of the message that has to come next, once one has come."""
        self._unwanted = 0
        """The entries before this offset are not to be returned."""
        self._unacknowledged = 0

    @property
    def partitions(self) -> int:
        return 1

    # --- Appending ------------------------------------------------------------------

    async def append(self, drafts: Sequence[Draft]) -> Sequence[EntryRefused | None]:
        results: list[EntryRefused | None] = []
        with explained(self._options):
            # One after the other, so that a message which closes the channel leaves no doubt
            # about another one.
            for batch in split(drafts):
                results += [await self._append(batch)] * len(batch)
        return results

    async def _append(self, batch: Sequence[Draft]) -> EntryRefused | None:
        body = encode(batch, time.time())
        try:
            await self._publish(self._publisher, body, secrets.token_hex(8))
        except ChannelPreconditionFailed as error:
            if len(batch) > 1:
                raise LogUnavailable(
                    f"RabbitMQ refuses a message of {len(body)} bytes: {error}"
                ) from error
            self._publisher = await self._publisher.connection.channel()
            return EntryRefused(str(error))
        return None

    async def _publish(self, channel: AbstractChannel, body: bytes, message_id: str) -> None:
        """Publish a message and wait until the stream has it."""
        try:
            await channel.basic_publish(
                body,
                routing_key=self._options.stream,
                properties=Basic.Properties(message_id=message_id),
                mandatory=True,
                wait=False,  # for an empty buffer
            )
        except PublishError as error:
            raise LogUnavailable(f"the stream {self._options.stream!r} was deleted") from error

    # --- Reading --------------------------------------------------------------------

    async def seek(self, starts: Sequence[Start]) -> None:
        (start,) = starts
        wanted = start // DRAFTS if isinstance(start, int) else start
        with explained(self._options):
            self._watch()
            await self._consumer.basic_qos(prefetch_count=PREFETCH)
            await self._consumer.basic_consume(
                self._options.stream, self._take, arguments={"x-stream-offset": wanted}
            )
            if isinstance(start, int):
                await self._find(start)

    async def _find(self, start: int) -> None:
        """Check that the first message which is read has the entry at `start`.

        From an offset that it does not have, RabbitMQ reads what is appended next. So something
        has to be appended.
        """
        marker = secrets.token_hex(8)
        channel = await self._publisher.connection.channel()
        await self._publish(channel, encode((), time.time()), marker)
        await channel.close()
        await self._wait_for_delivery()
        first = self._delivered[0]
        entries = decode(offset_of(first), first.body)
        if first.header.properties.message_id == marker or start not in (e.offset for e in entries):
            raise OffsetLost(f"the stream {self._options.stream!r} has lost the offset {start}")
        self._unwanted = start

    def _watch(self) -> None:
        """Have `read` notice the end of the consumer."""
        self._consumer.on_consumer_cancel_callbacks.add(self._cancel)
        self._consumer.closing.add_done_callback(lambda _: self._something_happened.set())

    def _cancel(self, _frame: Basic.Cancel) -> None:
        self._is_cancelled = True
        self._something_happened.set()

    async def _take(self, message: DeliveredMessage) -> None:
        self._delivered.append(message)
        self._something_happened.set()

    async def _wait_for_delivery(self) -> None:
        while not self._delivered:
            if self._consumer.is_closed or self._is_cancelled:
                raise LogUnavailable(self._end())
            self._something_happened.clear()
            await self._something_happened.wait()

    def _end(self) -> str:
        """Why nothing can be read any more."""
        if self._is_cancelled:
            return f"RabbitMQ no longer sends the stream {self._options.stream!r}: is it deleted?"
        closing = self._consumer.closing
        error = None if closing.cancelled() else closing.exception()
        return f"RabbitMQ ended the connection: {describe(error) if error else 'no reason given'}"

    async def read(self) -> Sequence[Entry]:
        entries: list[Entry] = []
        with explained(self._options):
            while not entries:
                await self._wait_for_delivery()
                size = 0
                while self._delivered and size < READ_BYTES:
                    message = self._delivered.popleft()
                    size += len(message.body)
                    entries += self._entries(message)
                    await self._acknowledge(message)
        return entries

    def _entries(self, message: DeliveredMessage) -> list[Entry]:
        """What a message has, which must be the next one."""
        offset = offset_of(message)
        if self._next is not None and offset != self._next:
            raise OffsetLost(f"the stream {self._options.stream!r} has lost messages")
        self._next = offset + 1
        entries = decode(offset, message.body)
        if offset * DRAFTS < self._unwanted:
            return [entry for entry in entries if entry.offset >= self._unwanted]
        return entries

    async def _acknowledge(self, message: DeliveredMessage) -> None:
        self._unacknowledged += 1
        if self._unacknowledged >= ACKNOWLEDGED and message.delivery_tag is not None:
            await self._consumer.basic_ack(message.delivery_tag, multiple=True, wait=False)
            self._unacknowledged = 0


def offset_of(message: DeliveredMessage) -> int:
    """The offset of a message in its stream."""
    offset = (message.header.properties.headers or {})["x-stream-offset"]
    assert isinstance(offset, int)
    return offset
