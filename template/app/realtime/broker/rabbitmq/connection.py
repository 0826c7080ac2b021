"""Connections to RabbitMQ that end at once, and errors that say what to do."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from aiormq import Connection
from aiormq.connection import TransportFactory
from aiormq.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelAccessRefused,
    ChannelPreconditionFailed,
    InvalidFrameError,
    ProbableAuthenticationError,
)

from app.realtime.broker.log.base import LogUnavailable
from app.realtime.broker.outage import describe
from app.realtime.broker.rabbitmq.options import Options

CONNECT_DEADLINE = 3.0
"""Seconds for the connection of TCP and TLS, and again for RabbitMQ's own handshake."""

CLOSE_DEADLINE = 0.3
"""Seconds in which RabbitMQ may answer that it knows that the connection ends."""

# aiormq logs every failed attempt, some with tracebacks. The task that reconnects says what
# is news.
logging.getLogger("aiormq").setLevel(logging.CRITICAL)


class Transport(TransportFactory):
    """Opens the TCP connection, and can end it without a word.

    aiormq's own `close` waits for three heartbeats if the server is silent.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._writer: asyncio.StreamWriter | None = None

    async def create(
        self,
        *_url: object,  # which is in the options
        **_tls: object,
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        options = self._options
        async with asyncio.timeout(CONNECT_DEADLINE):
            reader, self._writer = await asyncio.open_connection(
                options.host, options.port, ssl=options.tls
            )
        return reader, self._writer

    def abort(self) -> None:
        """End the connection now. Whoever waits for something from it gets an error."""
        if self._writer is not None:
            self._writer.transport.abort()


@asynccontextmanager
async def connected(options: Options) -> AsyncIterator[Connection]:
    """A connection for the length of the block. Raises `LogUnavailable`."""
    transport = Transport(options)
    connection = Connection(options.url, transport_factory=transport)
    too_late = asyncio.get_running_loop().call_later(2 * CONNECT_DEADLINE, transport.abort)
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
        await connection.close()  # now that nothing is waited for, its tasks end


@contextmanager
def explained(options: Options) -> Iterator[None]:
    """Raise `LogUnavailable`, with a sentence for the operator, in place of other errors."""
    try:
        yield
    except (ProbableAuthenticationError, AuthenticationError) as error:
        raise LogUnavailable(
            f"RabbitMQ refuses the user {options.user!r}: correct the name or the password in"
            " BROKER_URL (guest may log in from the server's own machine only)"
        ) from error
    except InvalidFrameError as error:  # what aiormq makes of the answer to Connection.Open
        raise LogUnavailable(
            f"RabbitMQ refuses the virtual host {options.virtual_host!r}: it does not exist, or"
            f" the user {options.user!r} has no permissions in it, or too many connections are open"
        ) from error
    except ChannelAccessRefused as error:
        raise LogUnavailable(
            f"RabbitMQ refuses the user {options.user!r} a permission: {error}. Needed are"
            f" configure and read for {options.stream!r}, and write for 'amq.default'"
        ) from error
    except ChannelPreconditionFailed as error:
        if "replica on the local node" in str(error):
            raise LogUnavailable(
                f"RabbitMQ can't read {options.stream!r} from the node of this connection, which"
                " has no replica of it, or not yet: the stream needs a replica on each node that"
                " workers connect to"
            ) from error
        raise LogUnavailable(
            f"RabbitMQ can't use {options.stream!r} as a stream, because it is another kind of"
            f" queue, or the server has no streams, as before 3.9: {error}"
        ) from error
    except ssl.SSLCertVerificationError as error:
        raise LogUnavailable(
            f"RabbitMQ's certificate is not trusted ({error.verify_message}): name its authority"
            " with ca in BROKER_URL"
        ) from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # aiormq cancels whatever waits for a connection that it gives up.
        raise LogUnavailable("the connection was silent") from error
    # uvloop raises RuntimeError when a connection is written to after a reset, and aiormq when
    # a connection that has ended is used.
    except (AMQPError, OSError, TimeoutError, RuntimeError) as error:
        raise LogUnavailable(describe(error)) from error
