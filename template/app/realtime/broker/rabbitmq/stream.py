"""Appends to a stream of RabbitMQ, and reads it."""

import secrets
import time
from collections.abc import Sequence

from aiormq import Connection, spec
from aiormq.abc import AbstractChannel, DeliveredMessage
from aiormq.exceptions import ChannelPreconditionFailed, PublishError

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
from app.realtime.broker.rabbitmq.connection import explained
from app.realtime.broker.rabbitmq.consumer import Consumer, offset_of
from app.realtime.broker.rabbitmq.options import Options

READ_BYTES = 1024 * 1024
"""Bytes after which `read` returns what it has."""

NOTE = 1
"""Offsets that RabbitMQ may take between two messages.

At the beginning of each segment file it notes what its publishers have sent. A segment that
was deleted by retention before it was read leaves a gap that is larger.
"""


class StreamConnection(LogConnection):
    """Appends to a stream on one connection, and reads it on another one.

    What is appended together is one message of the stream, if it is not too large.
    """

    def __init__(self, options: Options, writing: Connection, reading: Connection) -> None:
        self._options = options
        self._stream = options.stream
        self._writing = writing
        self._reading = reading
        self._publisher: AbstractChannel | None = None
        self._consumer: Consumer  # once `seek` was called
        self._next: int | None = None
        """The offset of the message that has to come next, once one has come."""
        self._start = 0
        """Entries before this offset are not wanted."""

    @property
    def partitions(self) -> int:
        return 1

    # --- Appending ------------------------------------------------------------------

    async def append(self, drafts: Sequence[Draft]) -> Sequence[EntryRefused | None]:
        results: list[EntryRefused | None] = []
        with explained(self._options):
            # One after the other: a message that closes the channel leaves no doubt about
            # another one.
            for batch in split(drafts):
                results += [await self._append(batch)] * len(batch)
        return results

    async def _append(self, batch: Sequence[Draft]) -> EntryRefused | None:
        if self._publisher is None:
            self._publisher = await self._writing.channel()
        body = encode(batch, time.time())
        try:
            await self._publish(self._publisher, body, secrets.token_hex(8))
        except ChannelPreconditionFailed as error:
            self._publisher = None  # RabbitMQ closed it
            if len(batch) == 1:
                return EntryRefused(str(error))
            raise LogUnavailable(f"RabbitMQ refuses {len(body)} bytes: {error}") from error
        return None

    async def _publish(self, channel: AbstractChannel, body: bytes, message_id: str) -> None:
        """Publish a message and wait until the stream has it."""
        try:
            await channel.basic_publish(
                body,
                routing_key=self._stream,
                properties=spec.Basic.Properties(message_id=message_id),
                mandatory=True,
            )
        except PublishError as error:
            raise LogUnavailable(f"the stream {self._stream!r} was deleted") from error

    # --- Reading --------------------------------------------------------------------

    async def seek(self, starts: Sequence[Start]) -> None:
        (start,) = starts
        with explained(self._options):
            if isinstance(start, int) and start // DRAFTS >= await self._end():
                raise OffsetLost(f"the stream {self._stream!r} ends before offset {start}")
            channel = await self._reading.channel(publisher_confirms=False)
            self._consumer = Consumer(channel, self._stream)
            if isinstance(start, int):
                await self._consumer.start(start // DRAFTS)
                await self._check(start, await self._consumer.look())
            else:
                await self._consumer.start(start)

    async def _end(self) -> int:
        """The offset after the last message.

        RabbitMQ has no answer to this question. So a message is appended and read, which has
        no entries.
        """
        channel = await self._reading.channel()
        consumer = Consumer(channel, self._stream)
        await consumer.start("next")
        marker = secrets.token_hex(8)
        publisher = await self._writing.channel()
        await self._publish(publisher, encode((), time.time()), marker)
        await publisher.close()
        while True:
            message = await consumer.take()
            if message.header.properties.message_id == marker:
                await channel.close()
                return offset_of(message)

    async def _check(self, start: int, first: DeliveredMessage) -> None:
        """Check that the message which is read first has the entry from which to begin."""
        entries = decode(offset_of(first), first.body)
        if start not in (entry.offset for entry in entries):
            raise OffsetLost(f"the stream {self._stream!r} no longer has offset {start}")
        self._start = start

    async def read(self) -> Sequence[Entry]:
        consumer = self._consumer
        entries: list[Entry] = []
        size = 0
        with explained(self._options):
            while not entries or (consumer.has_more and size < READ_BYTES):
                message = await consumer.take()
                size += len(message.body)
                entries += self._entries(message)
        return entries

    def _entries(self, message: DeliveredMessage) -> list[Entry]:
        """What a message has, which must be the next one."""
        offset = offset_of(message)
        if self._next is not None and offset > self._next + NOTE:
            raise OffsetLost(f"the stream {self._stream!r} has lost messages before {offset}")
        self._next = offset + 1
        entries = decode(offset, message.body)
        if offset * DRAFTS < self._start:
            return [entry for entry in entries if entry.offset >= self._start]
        return entries
