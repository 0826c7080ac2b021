"""A stream of RabbitMQ as an ordered log of one partition."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiormq import Connection
from aiormq.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed

from app.realtime.broker.log.base import Log, LogConnection
from app.realtime.broker.rabbitmq.connection import connected, explained
from app.realtime.broker.rabbitmq.options import Options
from app.realtime.broker.rabbitmq.stream import StreamConnection


class StreamLog(Log):
    name = "RabbitMQ"

    def __init__(self, options: Options) -> None:
        self._options = options

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[LogConnection]:
        """Two connections: in an alarm, RabbitMQ stops to serve those that publish."""
        async with connected(self._options) as writing, connected(self._options) as reading:
            with explained(self._options):
                await self._declare(writing)
            yield StreamConnection(self._options, writing, reading)

    async def _declare(self, connection: Connection) -> None:
        """Create the stream if there is none. One that exists is used as it is."""
        if await self._exists(connection):
            return
        channel = await connection.channel()
        try:
            await channel.queue_declare(
                self._options.stream, durable=True, arguments={**self._options.arguments}
            )
        except ChannelPreconditionFailed:
            # Perhaps another worker created it in between, with other options.
            if not await self._exists(connection):
                raise
        else:
            await channel.close()

    async def _exists(self, connection: Connection) -> bool:
        """Whether the stream exists. Everybody may ask, without a permission to configure."""
        channel = await connection.channel()
        try:
            await channel.queue_declare(self._options.stream, passive=True)
        except ChannelNotFoundEntity:
            return False
        await channel.close()
        return True
