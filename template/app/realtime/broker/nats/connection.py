"""The connection to NATS, which one task makes again after every outage."""

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import NamedTuple
from urllib.parse import ParseResult

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import SlowConsumerError

from app.realtime.broker.base import PUBLISH_DEADLINE
from app.realtime.broker.nats.channels import Channels, Heard
from app.realtime.broker.nats.names import Names
from app.realtime.broker.nats.options import Options
from app.realtime.broker.nats.reader import Reader
from app.realtime.broker.nats.requests import Outage, Refused, Requests, describe, read_answer
from app.realtime.broker.nats.stream import (
    NO_RESPONDERS,
    NOT_FOUND,
    Limits,
    Stream,
    Unusable,
    begin_generation,
    is_older,
    open_stream,
)
from app.realtime.metrics import BROKER_RECONNECTS

logger = logging.getLogger(__name__)

CANARY_INTERVAL = 1.0
"""Seconds between the messages that a worker sends to itself through the stream."""

CANARY_DEADLINE = 5.0
"""Seconds without receiving one, after which the connection counts as dead."""

BACKOFF_BASE, BACKOFF_CAP = 0.05, 1.0
"""Seconds: the first and the highest upper bound of the wait before a reconnection."""

MINIMUM_VERSION = (2, 11)
"""Of nats-server: the first that reads many messages in one request."""


class Link(NamedTuple):
    """A connection that is ready, and the stream as it was found."""

    requests: Requests
    reader: Reader
    stream: Stream


class Connection:
    """Connects, opens the stream, restores what is subscribed, and sends canaries.

    The connection is alive while the worker receives its own canary. A canary is kept by the
    stream and republished, as a record is: a stream that is full or without a leader is
    noticed. It replaces the one before it.

    A canary also confirms subscriptions. What the stream took after it, its leader sends to
    every subscription that was made before it.
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
        self._canary_channel = f"canary:{secrets.token_hex(8)}"
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
        self._told = ""
        """The last thing that was logged, while it is so."""
        self._errors: list[str] = []
        """Errors that nats-py reported on this connection."""
        self._sent_at: float | None = None
        """When a canary was sent that is not answered."""
        self._answered_at = 0.0
        self._heard_at: float | None = None
        self._heard_seq = self._heard_before = 0
        self._is_refused = False
        self._confirming: dict[str, Heard] = {}

    @property
    def alive(self) -> bool:
        if self._link is None or self._heard_at is None or self._is_refused:
            return False
        return asyncio.get_running_loop().time() - self._heard_at < CANARY_DEADLINE

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
        # What came after the canary before the last one may still have waited to be delivered.
        self._channels.interrupt(self._heard_before)
        self._channels.wanted.set()

    # --- One task owns the connection -------------------------------------------------

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Stay connected for the length of the block."""
        task = asyncio.create_task(self._supervise())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _supervise(self) -> None:
        """Keep a connection to NATS, for ever."""
        attempt = 0
        while True:
            try:
                await self._connect_once()
            except (Unusable, *Outage) as error:
                self._tell(error)
            except Exception:
                logger.exception("the connection to NATS failed unexpectedly")
                attempt += 1
            if self._was_alive():
                attempt = 0
            # Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
            ceiling = min(BACKOFF_CAP, BACKOFF_BASE * 2**attempt)
            attempt = min(attempt + 1, 16)
            await asyncio.sleep(random.uniform(0, ceiling))  # noqa: S311

    def _was_alive(self) -> bool:
        was_alive, self._heard_at = self._heard_at is not None, None
        return was_alive

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
                    stream = await self._open_stream(client, requests)
                    await client.subscribe(
                        self._names.live(self._canary_channel), cb=self._hear_canary
                    )
                    await self._channels.subscribe_all(client, stream, self.restart)
                await self._stay(Link(requests, Reader(requests, self._names), stream))
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
        self._errors.append(describe(error))
        if "permissions violation" in str(error) and self._requests is not None:
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

    # --- Canaries ---------------------------------------------------------------------

    async def _stay(self, link: Link) -> None:
        """Send canaries, until the connection ends or they don't come back. Always raises."""
        clock = asyncio.get_running_loop().time
        self._link, self._sent_at = link, None
        self._answered_at = clock()
        self._heard_seq = self._heard_before = 0
        self._is_refused = False
        self._confirming = {}
        self._use(link.requests)
        self.connected.set()
        due_at = clock()
        while self._ending is None:
            now = clock()
            if now - self._answered_at > CANARY_DEADLINE:
                raise TimeoutError("NATS does not answer")
            self._channels.wanted.clear()
            is_due = now >= due_at or self._channels.has_unconfirmed
            if is_due and (self._sent_at is None or now - self._sent_at > CANARY_INTERVAL):
                self._sent_at, due_at = now, now + CANARY_INTERVAL
                await self._send_canary(link)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due_at):
                    await self._channels.wanted.wait()
        raise ConnectionError(self._ending)

    async def _send_canary(self, link: Link) -> None:
        # Together with those of a canary that was not answered.
        subscribed = self._confirming = {**self._confirming, **self._channels.take_unconfirmed()}
        headers = {"Nats-Rollup": "sub"} if link.stream.takes_rollups else {}
        await link.requests.send(
            self._names.record(self._canary_channel),
            b"",
            partial(self._canary_taken, link, subscribed),
            headers,
        )

    def _canary_taken(
        self, link: Link, subscribed: dict[str, Heard], answer: Msg | Exception
    ) -> None:
        """The stream has answered a canary: what was subscribed before it hears everything."""
        if link is not self._link or isinstance(answer, Exception):
            return
        self._sent_at = None
        try:
            sequence = int(read_answer(answer)["seq"])
        except Refused as error:
            self._refuse(error)
            return
        except (ValueError, KeyError) as error:
            self._end(f"NATS gave an answer that can't be read: {describe(error)}")
            return
        if self._is_refused:
            logger.info("NATS takes messages again")
        self._is_refused = False
        self.note(sequence)
        self._confirming = {
            channel: it for channel, it in self._confirming.items() if channel not in subscribed
        }
        self._channels.confirm(subscribed)
        self._channels.wanted.set()

    def _refuse(self, error: Refused) -> None:
        """The stream does not take messages. The connection itself is fine, if it is there."""
        self._answered_at = asyncio.get_running_loop().time()
        if error.code in (NO_RESPONDERS, NOT_FOUND):
            self._end(f"the stream is not there: {error}")
        elif not self._is_refused:
            logger.warning("NATS does not take messages: %s", error)
        self._is_refused = True

    async def _hear_canary(self, message: Msg) -> None:
        link = self._link
        if link is None:
            return
        generation, headers = message.subject.split(".")[2], message.headers or {}
        sequence = int(headers.get("Nats-Sequence", 0))
        if generation != link.stream.generation:
            self.restart("the stream has changed")
        elif sequence <= self._heard_seq:
            self.restart("the stream has lost messages", generation)
        else:
            self._heard_before, self._heard_seq = self._heard_seq, sequence
            self._answered_at = asyncio.get_running_loop().time()
            if self._heard_at is None:
                logger.info("connected to NATS")
                BROKER_RECONNECTS.inc(self._connects > 0)
                self._connects += 1
                self._told = ""
            self._heard_at = self._answered_at


def address(server: ParseResult) -> str:
    """A server that another one of its cluster has named, as nats-py takes it."""
    return f"{server.scheme}://{server.netloc.rpartition('@')[2]}"


def explain(error: BaseException, hints: Sequence[str]) -> str:
    """A sentence about what is wrong. `hints` are errors that the server sent before."""
    reason = str(error) if isinstance(error, Unusable) else describe(error)
    if "authorization violation" in reason.lower():
        return (
            "NATS refused the login in BROKER_URL: check the user, the password, the token or "
            "the file named by creds"
        )
    refused = [it for it in hints if "permissions violation" in it]
    if refused:
        return f"the NATS user lacks a right ({refused[-1]}): docs/broker/nats.md lists them all"
    return f"no connection to NATS: {reason}"
