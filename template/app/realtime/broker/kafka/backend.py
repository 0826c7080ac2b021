"""Messages between any number of processes, through a topic of Kafka.

Guarantees: those of `LogBackend`. A publication counts as taken when all replicas in sync have
it, and only then it is read. What the cluster loses later (an unclean leader election, a topic
made anew) begins a new epoch: workers say in every entry what they have read.

Costs: every worker reads the whole topic, so the traffic of the cluster and the CPU of the
workers grow with publications times workers. Partitions don't change that: they only spread
the writing. A room lives in one partition. No consumer group is used, so a worker leaves
nothing behind in Kafka.

The operator: a topic that does not exist is created. One that exists needs `cleanup.policy`
`delete` and a retention that is not shorter than `HISTORY_SECONDS`; `message.timestamp.type`
`LogAppendTime` is better than the default, which trusts the clocks of the workers.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import AIOKafkaClient

from app import PROJECT_NAME
from app.realtime.broker.base import PUBLISH_DEADLINE
from app.realtime.broker.kafka.connection import MAX_MESSAGE_BYTES, KafkaConnection
from app.realtime.broker.kafka.errors import Reports, told
from app.realtime.broker.kafka.options import Options, read_url
from app.realtime.broker.kafka.topic import prepare_topic
from app.realtime.broker.log.backend import LogBackend
from app.realtime.broker.log.base import Log, LogConnection

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT_MS = 4000
"""For everything but publishing. Longer than `fetch_max_wait_ms`."""

FETCH_BYTES = 4 * 2**20
"""What is read ahead, from each server."""


class KafkaLog(Log):
    name = "Kafka"

    def __init__(self, options: Options, history_seconds: float) -> None:
        self._options = options
        self._history_seconds = history_seconds
        self._is_prepared = False
        self._reports = Reports()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[LogConnection]:
        topic = self._options.topic
        connection = {**self._options.connection, "client_id": PROJECT_NAME}
        async with AsyncExitStack() as stack:
            stack.enter_context(self._reports.kept())
            with told("connect", self._reports):
                if not self._is_prepared:
                    await prepare_topic(self._options, self._history_seconds)
                producer = producer_of(connection)
                stack.push_async_callback(end, producer.stop, producer.client)
                consumer = consumer_of(connection, self._options.fetch_max_wait_ms)
                stack.push_async_callback(end, consumer.stop, consumer._client)
                await producer.start()
                await consumer.start()
            with told(f"use the topic {topic}"):
                partitions = await producer.partitions_for(topic)
            self._is_prepared = True
            yield KafkaConnection(topic, len(partitions), producer, consumer)


async def end(stop: Callable[[], Awaitable[None]], client: AIOKafkaClient) -> None:
    """Stop a producer or a consumer, and the client that it uses.

    In an outage, `stop` can raise the CancelledError of a task of aiokafka. That would end the
    task that calls it, and leave the client's tasks and sockets behind.
    """

    async def stopping() -> None:
        try:
            await stop()
        finally:
            await client.close()

    task = asyncio.create_task(stopping())
    await asyncio.wait([task])
    if not task.cancelled() and task.exception() is not None:
        logger.debug("aiokafka did not stop: %s", task.exception())


def producer_of(connection: dict[str, Any]) -> AIOKafkaProducer:
    """A producer that gives up when publishers do.

    It sends one batch of a partition at a time, so that sending it again does not change the
    order. Readers recognize what it appended twice, so it need not be idempotent.
    """
    return AIOKafkaProducer(
        **connection,
        acks="all",
        linger_ms=0,
        max_batch_size=MAX_MESSAGE_BYTES,
        max_request_size=MAX_MESSAGE_BYTES,
        request_timeout_ms=int(PUBLISH_DEADLINE * 1000),
    )


def consumer_of(connection: dict[str, Any], fetch_max_wait_ms: int) -> AIOKafkaConsumer:
    """A consumer that belongs to no group, and reads where it is told."""
    return AIOKafkaConsumer(
        **connection,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        fetch_max_wait_ms=fetch_max_wait_ms,
        fetch_max_bytes=FETCH_BYTES,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )


class KafkaBackend(LogBackend):
    schemes = ("kafka",)

    def __init__(
        self, url: str, history_size: int, history_seconds: float, history_bytes: int = 0
    ) -> None:
        log = KafkaLog(read_url(url), history_seconds)
        super().__init__(url, history_size, history_seconds, history_bytes, log)
