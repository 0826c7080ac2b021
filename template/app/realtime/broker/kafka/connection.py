"""A producer and a consumer of one topic, without a consumer group."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    RecordListTooLargeError,
)

from app.realtime.broker.kafka.errors import told
from app.realtime.broker.log.base import (
    Draft,
    Entry,
    EntryRefused,
    LogConnection,
    OffsetLost,
    Start,
)

BATCH_BYTES = 131_072
"""Of the entries that are sent to a partition together. A larger one is sent alone."""

MAX_MESSAGE_BYTES = 16 * 2**20
"""What is sent to Kafka at most. The topic has a limit of its own."""

IDLE = 1000
"""Milliseconds for which aiokafka waits before it is asked again."""

BEFORE_END = 10_000
"""Entries to read if the server says that none is recent. Some can't search by time."""

TooLarge = (MessageSizeTooLargeError, RecordListTooLargeError)


class KafkaConnection(LogConnection):
    def __init__(
        self, topic: str, partitions: int, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer
    ) -> None:
        self._topic = topic
        self._places = [TopicPartition(topic, number) for number in range(partitions)]
        self._producer = producer
        self._consumer = consumer

    @property
    def partitions(self) -> int:
        return len(self._places)

    # --- Writing ------------------------------------------------------------------------

    async def append(self, drafts: Sequence[Draft]) -> Sequence[EntryRefused | None]:
        results: list[EntryRefused | None] = [None] * len(drafts)
        indexes: dict[int, list[int]] = {}
        for index, draft in enumerate(drafts):
            if len(draft.payload) > MAX_MESSAGE_BYTES:
                results[index] = EntryRefused(f"it has more than {MAX_MESSAGE_BYTES} bytes")
            else:
                indexes.setdefault(draft.partition, []).append(index)
        with told(f"write to the topic {self._topic}"):
            refused = await asyncio.gather(
                *(self._append_to(number, drafts, found) for number, found in indexes.items())
            )
        for index, error in (it for found in refused for it in found):
            results[index] = error
        return results

    async def _append_to(
        self, partition: int, drafts: Sequence[Draft], indexes: Sequence[int]
    ) -> list[tuple[int, EntryRefused]]:
        """Append to one partition. Returns what it does not take."""
        refused: list[tuple[int, EntryRefused]] = []
        sent: list[tuple[list[int], asyncio.Future[Any]]] = []
        for batched in batches(drafts, indexes):
            batch = self._producer.create_batch()
            for index in batched:
                batch.append(key=None, value=drafts[index].payload, timestamp=None)
            future = await self._producer.send_batch(batch, self._topic, partition=partition)
            future.add_done_callback(ignore_error)
            sent.append((batched, future))
        if sent:
            await asyncio.wait([future for _, future in sent])
        for batched, future in sent:
            error = future.exception()
            if isinstance(error, TooLarge):
                why = EntryRefused("it is larger than max.message.bytes of the topic")
                refused += ((index, why) for index in batched)
            elif error is not None:
                raise error
        return refused

    # --- Reading ------------------------------------------------------------------------

    async def seek(self, starts: Sequence[Start]) -> None:
        self._consumer.assign(self._places)
        with told(f"read the topic {self._topic}"):
            ends = await self._consumer.end_offsets(self._places)
            firsts = await self._consumer.beginning_offsets(self._places)
            times = {
                place: int(start.timestamp() * 1000)
                for place, start in zip(self._places, starts, strict=True)
                if isinstance(start, datetime)
            }
            found = await self._consumer.offsets_for_times(times) if times else {}
        for place, start in zip(self._places, starts, strict=True):
            first, end = firsts[place], ends[place]
            if isinstance(start, datetime):
                recent = found.get(place)
                offset = max(first, end - BEFORE_END) if recent is None else recent.offset
            elif first <= start < end:
                offset = start
            else:
                raise OffsetLost(
                    f"partition {place.partition} has entries from {first} up to {end - 1}, "
                    f"and {start} was read before"
                )
            self._consumer.seek(place, offset)

    async def read(self) -> Sequence[Entry]:
        with told(f"read the topic {self._topic}"):
            while True:
                try:
                    found = await self._consumer.getmany(timeout_ms=IDLE)
                except OffsetOutOfRangeError as error:
                    raise OffsetLost(str(error)) from error
                if found:
                    return [
                        Entry(it.partition, it.offset, it.timestamp / 1000, it.value or b"")
                        for records in found.values()
                        for it in records
                    ]


def ignore_error(future: asyncio.Future[Any]) -> None:
    """Have no error reported that came after nobody waited for it any more."""
    if not future.cancelled():
        future.exception()


def batches(drafts: Sequence[Draft], indexes: Sequence[int]) -> Iterator[list[int]]:
    """Split what is appended to a partition into batches of at most `BATCH_BYTES`."""
    batch: list[int] = []
    size = 0
    for index in indexes:
        if batch and size + len(drafts[index].payload) > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(index)
        size += len(drafts[index].payload)
    yield batch
