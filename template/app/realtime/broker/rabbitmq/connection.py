"""Connections to RabbitMQ that end at once, and errors that say what to do."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from aiormq import Channel, Connection
from aiormq.connection import TransportFactory
from aiormq.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelAccessRefused,
    ChannelPreconditionFailed,
    DeliveryError,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from yarl import URL

from app.realtime.broker.rabbitmq.options import Options

CONNECT_DEADLINE = 3.0
"""Seconds for the connection of TCP and TLS, and again for RabbitMQ's own handshake."""

CLOSE_DEADLINE = 0.5
"""Seconds in which RabbitMQ may answer that it knows that the connection ends."""

# aiormq logs every failed attempt, some with tracebacks. The task that reconnects says what
# is news.
logging.getLogger("aiormq").setLevel(logging.CRITICAL)

# What a broken connection, an unreachable server or one that starts raises. uvloop raises
# RuntimeError when a connection is written to after a reset.
Outage = (AMQPError, OSError, TimeoutError, RuntimeError)


class Refusal(ConnectionError):
    """RabbitMQ refuses something until somebody changes its configuration, or ours."""


class Transport(TransportFactory):
    """Opens the TCP connection, and can end it without a word.

    aiormq's own `close` waits for three heartbeats if the server is silent.
    """

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._writer: asyncio.StreamWriter | None = None

    async def create(
        self,
        url: URL,
        **_kwargs: Any,  # what aiormq has for a context of its own
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(CONNECT_DEADLINE):
            reader, self._writer = await asyncio.open_connection(url.host, url.port, ssl=self._tls)
        return reader, self._writer

    def abort(self) -> None:
        """End the connection now. Whoever waits for something from it gets an error."""
        if self._writer is not None:
            self._writer.transport.abort()


@asynccontextmanager
async def connected(options: Options) -> AsyncIterator[Connection]:
    """A connection for the length of the block. Raises `Refusal` and errors of `Outage`."""
    transport = Transport(options.tls)
    connection = Connection(options.url, transport_factory=transport)
    loop = asyncio.get_running_loop()
    too_late = loop.call_later(2 * CONNECT_DEADLINE, transport.abort)
    try:
        with explained(options):
            await connection.connect()
        too_late.cancel()
        yield connection
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_DEADLINE):
                await connection.close()
    finally:
        too_late.cancel()
        transport.abort()
        await connection.close()  # its tasks end, as the transport has


async def open_channel(connection: Connection) -> Channel:
    """A channel with publisher confirms."""
    channel = await connection.channel()
    assert isinstance(channel, Channel)
    return channel


@contextmanager
def explained(options: Options) -> Iterator[None]:
    """Raise a `Refusal` in place of errors that only the operator can mend."""
    try:
        yield
    except (ProbableAuthenticationError, AuthenticationError) as error:
        raise Refusal(
            f"RabbitMQ refuses the user {options.user!r}: correct the name or the password in"
            " BROKER_URL (guest may log in from the server's own machine only)"
        ) from error
    except InvalidFrameError as error:  # what aiormq makes of the answer to Connection.Open
        raise Refusal(
            f"RabbitMQ refuses the virtual host {options.virtual_host!r}: it does not exist, or"
            f" the user {options.user!r} has no permissions in it, or too many connections are open"
        ) from error
    except ChannelAccessRefused as error:
        raise Refusal(
            f"RabbitMQ refuses the user {options.user!r} a permission: {reason(error)}; the stream"
            f" needs configure and read for {options.stream!r}, and write for 'amq.default'"
        ) from error
    except ChannelPreconditionFailed as error:
        raise Refusal(
            f"RabbitMQ can't use {options.stream!r} as a stream, as it is another kind of queue or"
            f" the server is older than 3.9: {reason(error)}"
        ) from error


def reason(error: BaseException) -> str:
    """Describe an error of RabbitMQ. Some errors have no message, only a name."""
    if isinstance(error, DeliveryError) and error.frame is not None:
        return f"{type(error).__name__} {getattr(error.frame, 'reply_text', '')}".strip()
    return f"{type(error).__name__} {error}".strip()
