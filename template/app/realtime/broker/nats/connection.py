"""The connection to NATS, which one task makes again after every outage."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from urllib.parse import ParseResult

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import SlowConsumerError

from app.realtime.broker.base import PUBLISH_DEADLINE
from app.realtime.broker.nats.canary import CANARY_DEADLINE, Canary
from app.realtime.broker.nats.channels import Channels
from app.realtime.broker.nats.link import Link
from app.realtime.broker.nats.names import Names
from app.realtime.broker.nats.options import Options
from app.realtime.broker.nats.reader import Reader
from app.realtime.broker.nats.requests import Outage, Requests, reason_of
from app.realtime.broker.nats.stream import (
    Limits,
    Stream,
    Unusable,
    begin_generation,
    is_older,
    open_stream,
)
from app.realtime.metrics import BROKER_RECONNECTS

logger = logging.getLogger(__name__)

OPEN_DEADLINE = 2.0
"""Seconds that the stream's leader has for an answer. Without a leader there is none."""

BACKOFF_BASE, BACKOFF_CAP = 0.05, 1.0
"""Seconds: the first and the highest upper bound of the wait before a reconnection."""

MINIMUM_VERSION = (2, 11)
"""Of nats-server: the first that reads many messages in one request."""


class Connection:
    """Connects, opens the stream, and restores what is subscribed.

    nats-py could reconnect by itself. But then it would send later what was refused in the
    meantime, and the stream has to be looked at before anything is subscribed.
    """

    def __init__(
        self,
        options: Options,
        names: Names,
        limits: Limits,
        channels: Channels,
        use: Callable[[Requests | None], None],
    ) -> None:
        """`use` is called with each connection once it is ready, and with None when it ends."""
        self._options = options
        self._names = names
        self._limits = limits
        self._channels = channels
        self._use = use
        self._canary = Canary(names, limits, channels, self.restart)
        self._servers = list(options.servers)
        self._discovered: list[str] = []
        random.shuffle(self._servers)
        self._may_update = True  # once, so that workers with other settings don't go on for ever
        self._stream: Stream | None = None
        """The stream as this worker knew it last."""
        self._newest = 0
        """The highest sequence of the stream that this worker knows of."""
        self._lost: str | None = None
        """A generation that has to be replaced."""
        self._requests: Requests | None = None
        self._link: Link | None = None
        self.connected = asyncio.Event()
        """Set while there is a connection."""
        self._turn = -1
        self._is_connecting = False
        self._ending: str | None = None
        """Why the connection ends."""
        self._connects = 0
        self._attempt = 0
        self._told = ""
        """The last thing that was logged, while it is so."""
        self._errors: list[str] = []
        """Errors that nats-py reported on this connection."""

    @property
    def alive(self) -> bool:
        return self._canary.alive

    @property
    def stream(self) -> Stream | None:
        """The stream as this worker knew it last."""
        return self._stream

    @property
    def link(self) -> Link:
        """The connection. Raises ConnectionError while there is none."""
        if self._link is None:
            raise ConnectionError(self._told or "there is no connection")
        return self._link

    def note(self, sequence: int) -> None:
        """Take note of a sequence that the stream has given."""
        self._newest = max(self._newest, sequence)

    def restart(self, reason: str, lost: str | None = None) -> None:
        """Connect again. `lost` is the generation of which something is lost, if one is."""
        self._lost = lost or self._lost
        self._end(reason)

    async def replace_generation(self, lost: str) -> None:
        """Have a new epoch begin for everybody, because something of this one is lost."""
        link = self.link
        await begin_generation(link.requests, self._names, lost)
        self.restart("the stream has lost messages")

    def _end(self, reason: str) -> None:
        """End the connection. It is used no more."""
        self._ending = self._ending or reason
        self._link = None
        self.connected.clear()
        self._use(None)
        self._newest = max(self._newest, self._canary.newest)
        self._channels.interrupt(self._canary.received_until)
        self._canary.stop()

    # --- One task owns the connection -------------------------------------------------

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Stay connected for the length of the block."""
        task = asyncio.create_task(self._supervise())
        try:
            yield
        finally:
            while not task.done():
                task.cancel()  # again, since before Python 3.12 nats-py may lose a cancellation
                await asyncio.wait([task], timeout=1)

    async def _supervise(self) -> None:
        """Keep a connection to NATS, for ever."""
        while True:
            try:
                await self._connect_once()
            except (Unusable, *Outage) as error:
                self._tell(error)
            except Exception:
                logger.exception("the connection to NATS failed unexpectedly")
            # Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
            ceiling = min(BACKOFF_CAP, BACKOFF_BASE * 2**self._attempt)
            self._attempt = min(self._attempt + 1, 16)
            await asyncio.sleep(random.uniform(0, ceiling))  # noqa: S311

    def _tell(self, error: BaseException) -> None:
        """Log what is wrong, once."""
        told = explain(error, self._errors)
        logger.log(logging.DEBUG if told == self._told else logging.WARNING, "%s", told)
        self._told = told

    async def _connect_once(self) -> None:
        """Connect to a server, and stay until the connection ends. Always raises."""
        self._ending = None
        self._errors.clear()
        async with self._client() as client:
            self._requests = requests = Requests(client)
            try:
                async with asyncio.timeout(CANARY_DEADLINE):
                    await requests.start()
                    async with asyncio.timeout(OPEN_DEADLINE):
                        stream = await self._open_stream(client, requests)
                    await client.subscribe(self._canary.subject, cb=self._hear_canary)
                    await self._channels.subscribe_all(client, stream, self.restart)
                if self._ending is not None:
                    raise ConnectionError(self._ending)
                self._link = Link(requests, Reader(requests, self._names), stream)
                self._use(requests)
                self.connected.set()
                await self._canary.sing(self._link)
                raise ConnectionError(self._ending or "the connection to NATS was lost")
            finally:
                self._end("the connection to NATS was lost")
                requests.close(ConnectionError("the connection to NATS was lost"))

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[Client]:
        """A connected client of nats-py, which does not connect again by itself."""
        client, options = Client(), self._options
        server = self._next_server()
        self._is_connecting = True
        try:
            async with asyncio.timeout(CANARY_DEADLINE):
                await client.connect(
                    servers=[server],
                    error_cb=self._take_error,
                    closed_cb=self._take_close,
                    allow_reconnect=False,
                    connect_timeout=2,
                    # Nothing that is published waits for another connection.
                    pending_size=0,
                    # A full queue would make nats-py wait, and there it loses cancellations.
                    flusher_queue_size=0,
                    name=self._names.stream,
                    tls=options.tls,
                    user=self._secret(client, options.user),
                    password=self._secret(client, options.password),
                    token=self._secret(client, options.token),
                    user_credentials=options.creds,
                )
                self._check_tls(client)
            self._is_connecting = False
            self._discovered = [address(it) for it in client.discovered_servers]
            yield client
        finally:
            self._is_connecting = False
            with contextlib.suppress(*Outage):
                async with asyncio.timeout(PUBLISH_DEADLINE):
                    await client.close()

    def _secret(self, client: Client, secret: str | None) -> Callable[[], str] | None:
        """A part of the login, which nats-py asks for when it knows whether there is TLS."""
        if secret is None:
            return None

        def tell() -> str:
            self._check_tls(client)
            return secret

        return tell

    def _check_tls(self, client: Client) -> None:
        """Raise Unusable if the URL asks for TLS, and nats-py goes on without."""
        if self._options.has_tls and not client._server_info.get("tls_required"):
            raise Unusable("BROKER_URL begins with tls://, but the server does not require TLS")

    def _next_server(self) -> str:
        """The servers of the URL and those of their cluster, in turn."""
        servers = [*self._servers, *(it for it in self._discovered if it not in self._servers)]
        self._turn += 1
        return servers[self._turn % len(servers)]

    async def _take_error(self, error: Exception) -> None:
        """Called by nats-py."""
        if self._is_connecting:
            raise error  # nats-py would try for ever
        if not isinstance(error, Outage):
            logger.error("could not take a message from NATS", exc_info=error)
        self._errors = [*self._errors[-9:], reason_of(error)]
        if "permissions violation" in str(error) and self._requests is not None:
            self._tell(error)
            self._requests.close(error)  # NATS gives no other answer to what it does not allow
        if isinstance(error, SlowConsumerError):
            self._end("this worker reads too slowly")

    async def _take_close(self) -> None:
        """Called by nats-py when the connection has ended."""
        self._end("the connection to NATS was lost")

    async def _open_stream(self, client: Client, requests: Requests) -> Stream:
        """The stream, of a generation of which nothing is lost."""
        version = client.connected_server_version
        if (version.major, version.minor) < MINIMUM_VERSION:
            raise Unusable(f"{version} is too old: nats-server 2.11 or later is needed")
        names, known = self._names, self._stream
        stream = await open_stream(
            requests, names, self._limits, self._options, may_update=self._may_update
        )
        self._may_update = False
        if known is not None and is_older(stream.generation, known.generation):
            # A copy from before was restored.
            stream = await begin_generation(requests, names, stream.generation, known.generation)
        elif stream.generation == self._lost or (
            known is not None and stream.epoch == known.epoch and stream.last_seq < self._newest
        ):
            stream = await begin_generation(requests, names, stream.generation)
        if known is None or stream.epoch != known.epoch:
            self._newest = stream.last_seq
        self._lost = None
        self._stream = stream
        return stream

    async def _hear_canary(self, message: Msg) -> None:
        was_heard = self._canary.is_heard
        await self._canary.hear(message)
        if not was_heard and self._canary.is_heard:
            logger.info("connected to NATS")
            BROKER_RECONNECTS.inc(self._connects > 0)
            self._connects += 1
            self._attempt = 0
            self._told = ""


def address(server: ParseResult) -> str:
    """A server that another one of its cluster has named, as nats-py takes it."""
    return f"{server.scheme}://{server.netloc.rpartition('@')[2]}"


def explain(error: BaseException, hints: Sequence[str]) -> str:
    """A sentence about what is wrong. `hints` are errors that the server sent before."""
    reason = str(error) if isinstance(error, Unusable) else reason_of(error)
    if "authorization violation" in reason.lower():
        return (
            "NATS refused the login in BROKER_URL: check the user, the password, the token or "
            "the file named by creds"
        )
    refused = [it for it in hints if "permissions violation" in it]
    if refused:
        return f"the NATS user lacks a right ({refused[-1]}): docs/broker/nats.md lists them all"
    return f"no connection to NATS: {reason}"
