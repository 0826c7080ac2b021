"""Reads a stream on a channel."""

import asyncio
from collections import deque
from datetime import datetime

from aiormq import spec
from aiormq.abc import AbstractChannel, DeliveredMessage

from app.realtime.broker.log.base import LogUnavailable
from app.realtime.broker.outage import describe

PREFETCH = 100
"""Messages that RabbitMQ sends before it waits for an acknowledgement."""

ACKNOWLEDGED = 25
"""Messages that are acknowledged together."""


class Consumer:
    """Reads messages in their order, and does not miss that there will be no more."""

    def __init__(self, channel: AbstractChannel, stream: str) -> None:
        self._channel = channel
        self._stream = stream
        self._delivered: deque[DeliveredMessage] = deque()
        self._something_happened = asyncio.Event()
        self._is_cancelled = False
        self._unacknowledged = 0

    async def start(self, offset: int | str | datetime) -> None:
        """Read from an offset, a time or "next", which is what is appended from now on.

        If the stream ends before the offset, nothing is read until it is there.
        """
        self._channel.on_consumer_cancel_callbacks.add(self._cancel)
        self._channel.closing.add_done_callback(lambda _: self._something_happened.set())
        await self._channel.basic_qos(prefetch_count=PREFETCH)
        await self._channel.basic_consume(
            self._stream, self._take, arguments={"x-stream-offset": offset}
        )

    async def _take(self, message: DeliveredMessage) -> None:
        self._delivered.append(message)
        self._something_happened.set()

    def _cancel(self, _frame: spec.Basic.Cancel) -> None:
        self._is_cancelled = True
        self._something_happened.set()

    async def look(self) -> DeliveredMessage:
        """Wait for the message that `take` returns next."""
        while not self._delivered:
            if self._is_cancelled:
                raise LogUnavailable(
                    f"RabbitMQ no longer sends the stream {self._stream!r}: was it deleted?"
                )
            if self._channel.is_closed:
                raise LogUnavailable(f"RabbitMQ ended the connection: {self._end()}")
            self._something_happened.clear()
            await self._something_happened.wait()
        return self._delivered[0]

    async def take(self) -> DeliveredMessage:
        """Wait for the next message. RabbitMQ learns that it has been read."""
        message = await self.look()
        self._delivered.popleft()
        self._unacknowledged += 1
        if self._unacknowledged >= ACKNOWLEDGED and message.delivery_tag is not None:
            await self._channel.basic_ack(message.delivery_tag, multiple=True, wait=False)
            self._unacknowledged = 0
        return message

    @property
    def has_more(self) -> bool:
        """Whether there is a message that `take` need not wait for."""
        return bool(self._delivered)

    def _end(self) -> str:
        closing = self._channel.closing
        error = None if closing.cancelled() else closing.exception()
        return describe(error) if error is not None else "it gave no reason"


def offset_of(message: DeliveredMessage) -> int:
    """The offset of a message in its stream."""
    offset = (message.header.properties.headers or {}).get("x-stream-offset")
    if not isinstance(offset, int):
        raise LogUnavailable("RabbitMQ sent a message without the offset that streams have")
    return offset
