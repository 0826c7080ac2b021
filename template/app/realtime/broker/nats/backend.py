"""Messages between any number of processes, through NATS with JetStream.

Guarantees: the records of a channel reach every subscribed worker in order and once. One
stream keeps them, under a subject for each channel, and republishes them to the workers that
are subscribed, each with its sequence and that of the record before it in its channel. So
what a worker missed during an outage can be read from the stream. After an outage the
backend returns `Resubscribed` for every channel.

An offset is a sequence of the stream, which all channels share. A channel without records
stands where the stream stood when a worker first heard it, and stays there on that worker.
What stands between two offsets of a channel without a record is known as far back as the
stream has any message: three quarters of `history_seconds` at least.

An epoch is a generation of the stream, which the subjects of live records name, and the time
at which the stream was made. A new one begins when a worker has seen more than the stream
has, or when the stream misses a record that is too young to have expired: after a purge, the
restoration of an older copy, or a failover to a replica that lacks something.

A channel keeps `history_size` records for `history_seconds`, and one more that tells what
came before them. The server keeps the id of every record for `history_seconds` in its memory,
at some 600 bytes. Joining or reading stores nothing. Each worker stores a canary every second,
in the place of the one before. See docs/broker/nats.md for what was measured.

What is acknowledged survives a crash of the server's process. It survives the loss of power
or of a machine if the stream has three replicas, or if the server has `sync_interval: always`.

The operator must enable JetStream. nats-server 2.11 or later is needed.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from app.realtime.broker.base import (
    PUBLISH_DEADLINE,
    Backend,
    BrokerUnavailable,
    History,
    IdTaken,
    Page,
    Record,
)
from app.realtime.broker.nats.channels import Channels
from app.realtime.broker.nats.connection import Connection
from app.realtime.broker.nats.link import Link
from app.realtime.broker.nats.names import Names
from app.realtime.broker.nats.options import read_options
from app.realtime.broker.nats.past import Past
from app.realtime.broker.nats.publisher import Publisher
from app.realtime.broker.nats.publishing import Publishing
from app.realtime.broker.nats.requests import Outage, reason_of
from app.realtime.broker.nats.stream import Limits, Unusable
from app.realtime.broker.outage import OutageGuard
from app.realtime.protocol import Position


class NatsBackend(Backend):
    schemes = ("nats", "tls")

    def __init__(
        self, url: str, history_size: int, history_seconds: float, history_bytes: int = 0
    ) -> None:
        super().__init__(url, history_size, history_seconds, history_bytes)
        options = read_options(url)
        names = Names(options.stream)
        self._limits = Limits(self.history_size, history_seconds)
        self._channels = Channels(names, self._deliver)
        publisher = Publisher()
        self._connection = Connection(options, names, self._limits, self._channels, publisher.use)
        self._publishing = Publishing(names, self._limits, self._connection, publisher)
        self._outage = OutageGuard("NATS", lambda: self.alive)
        self._running = AsyncExitStack()

    @property
    def alive(self) -> bool:
        return self._connection.alive

    async def connect(self) -> None:
        """Start to connect. An unreachable server is no error: it may come back."""
        await self._running.enter_async_context(self._tasks())

    async def disconnect(self) -> None:
        await self._running.aclose()

    @asynccontextmanager
    async def _tasks(self) -> AsyncIterator[None]:
        async with self._publishing.running(), self._connection.running():
            yield

    async def _open(self, channel: str) -> None:
        await self._channels.add(channel)

    async def _close(self, channel: str) -> None:
        await self._channels.remove(channel)

    def submit(
        self, channel: str, message: str | Record, seen: Position | None = None
    ) -> asyncio.Future[Position | None]:
        self._outage.check()
        answer = self._publishing.submit(channel, message, seen)
        taken: asyncio.Future[Position | None] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(partial(self._taken, taken))
        return taken

    def _taken(
        self,
        taken: asyncio.Future[Position | None],
        answer: asyncio.Future[Position | None],
    ) -> None:
        """Pass on the answer to whoever waits for `taken`."""
        error = answer.exception()
        if error is None or isinstance(error, IdTaken):
            self._outage.answered()
        else:
            error = self._unavailable("take the message", error)
        if taken.cancelled():
            return
        if error is None:
            taken.set_result(answer.result())
        else:
            taken.set_exception(error)

    async def history(
        self,
        channel: str,
        *,
        last: int,
        after: Sequence[Position] = (),
        seen: Position | None = None,
    ) -> History:
        heard = self._channels[channel]
        if not heard.confirmed.is_set():
            self._outage.check()
        try:
            async with asyncio.timeout(PUBLISH_DEADLINE):
                answer = None
                while answer is None:
                    await heard.confirmed.wait()
                    answer = await self._read(channel, last, after, seen)
        except (*Outage, Unusable, ValueError, LookupError) as error:
            raise self._unavailable("answer", error) from error
        self._outage.answered()
        return answer

    async def _read(
        self, channel: str, last: int, after: Sequence[Position], seen: Position | None
    ) -> History | None:
        """What a channel remembers. None if the stream has changed: then it is read again."""
        link = self._connection.link
        place = self._channels[channel].place
        past = await self._past(link, channel)
        if past is None:
            return None
        if after and past.state.may_have_more:
            past = past._replace(oldest=await link.reader.oldest(channel))
        lowest = past.lowest(after)
        stored = await link.reader.newest(channel, past.state, last + 1, lowest)
        if past.is_lost(seen, stored):
            await self._connection.replace_generation(link.stream.generation)
            return None
        history = past.history(stored, last, past.lowest_remembered(after, stored))
        self._channels.stand(channel, place, history.position, past.state, stored)
        return history

    async def page(self, channel: str, *, before: int | None, limit: int) -> Page:
        self._outage.check()
        try:
            async with asyncio.timeout(PUBLISH_DEADLINE):
                page = None
                while page is None:
                    await self._connection.connected.wait()
                    page = await self._read_page(channel, before, limit)
        except (*Outage, Unusable, ValueError, LookupError) as error:
            raise self._unavailable("answer", error) from error
        self._outage.answered()
        return page

    async def _read_page(self, channel: str, before: int | None, limit: int) -> Page | None:
        link = self._connection.link
        past = await self._past(link, channel)
        if past is None:
            return None
        if before is None:
            stored = await link.reader.newest(channel, past.state, limit + 1, None)
            return past.page(stored, 0, limit)
        stored, behind = await link.reader.before(channel, past.state, before, limit + 1)
        return past.page(stored, behind, limit)

    async def _past(self, link: Link, channel: str) -> Past | None:
        """Ask the stream what it has of a channel. None if it is not the one it was."""
        heard = self._channels.get(channel)
        place = heard.place if heard is not None else None
        state = await link.reader.state(channel)
        if state.stream.epoch != link.stream.epoch:
            self._connection.restart("the stream has changed")
            return None
        return Past(channel, state, None, place, self._limits)

    def _unavailable(self, what: str, error: BaseException) -> BrokerUnavailable:
        return self._outage.failed(BrokerUnavailable(f"NATS did not {what}: {reason_of(error)}"))
