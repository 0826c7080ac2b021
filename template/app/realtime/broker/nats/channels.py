"""The channels that this worker hears, and where each of them stands."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from broadcaster import Event
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from app.realtime.broker.base import PUBLISH_DEADLINE, Listener, Publication, Resubscribed
from app.realtime.broker.nats.names import PLAIN, Names
from app.realtime.broker.nats.reader import State, Stored, seconds_of
from app.realtime.broker.nats.requests import Outage, reason_of
from app.realtime.broker.nats.stream import Stream
from app.realtime.metrics import POISON
from app.realtime.protocol import Position

logger = logging.getLogger(__name__)

MAX_PENDING = 10_000
MAX_PENDING_BYTES = 16 * 1024 * 1024
"""What may wait of one channel. With more, the connection counts as broken."""

Restart = Callable[[str, str | None], None]
"""Called, with a reason, when the connection is broken or the stream is not what it was.

The second argument is the generation of which something is lost, if one is.
"""


class Place:
    """Where a channel stands, as far as a worker knows that hears it."""

    def __init__(
        self, epoch: str, offset: int, time: str, before: "Place | None", *, is_real: bool
    ) -> None:
        """`before` is where the channel stood before that."""
        self.epoch = epoch
        self.offset = offset
        self.time = time
        """When the stream was there, by the clock of its server."""
        self.is_real = is_real
        """Whether a record has this offset. Else, the channel had none at that time."""
        self.heard_until: int | None = None
        """The sequence up to which nothing was missed; None while nothing is."""
        is_same_epoch = before is not None and before.epoch == epoch
        self.first: int = before.first if before is not None and is_same_epoch else offset
        """Where the channel stood when this worker heard of it first."""

    def is_at(self, position: Position) -> bool:
        return (self.epoch, self.offset) == (position.epoch, position.offset)

    def covers(self, offset: int) -> bool:
        """Whether this worker knows that nothing was published between here and an offset."""
        return self.heard_until is None or self.heard_until >= offset


class Heard:
    """A channel that is subscribed."""

    def __init__(self) -> None:
        self.subscription: Subscription | None = None
        self.confirmed = asyncio.Event()
        self.is_interrupted = False
        self.place: Place | None = None


class Channels:
    """Subscribes to channels, and passes on what they receive, in order.

    A record names the one before it in the stream. If that one has expired, `previous` is what
    this worker has heard last: whoever hears a channel without interruption misses nothing.
    """

    def __init__(self, names: Names, deliver: Listener) -> None:
        self._names = names
        self._deliver = deliver
        self._restart: Restart | None = None
        self._heard: dict[str, Heard] = {}
        self._unconfirmed: dict[str, Heard] = {}
        self._client: Client | None = None
        self._stream: Stream | None = None
        self.changed = asyncio.Event()
        """Set when a subscription waits to be confirmed, or something else has changed."""

    def __getitem__(self, channel: str) -> Heard:
        return self._heard[channel]

    def get(self, channel: str) -> Heard | None:
        return self._heard.get(channel)

    # --- Subscriptions ----------------------------------------------------------------

    async def add(self, channel: str) -> None:
        """Subscribe to a channel, now if connected, else when that is so."""
        heard = self._heard[channel] = Heard()
        if self._client is not None:
            await self._subscribe(self._client, channel, heard)

    async def remove(self, channel: str) -> None:
        """Unsubscribe from a channel."""
        heard = self._heard.pop(channel, None)
        self._unconfirmed.pop(channel, None)
        if heard is None or heard.subscription is None:
            return
        try:
            async with asyncio.timeout(PUBLISH_DEADLINE):
                await heard.subscription.unsubscribe()
        except Outage as error:  # the connection is replaced, without this subscription
            logger.debug("NATS did not take an unsubscription: %s", reason_of(error))

    async def subscribe_all(self, client: Client, stream: Stream, restart: Restart) -> None:
        """Subscribe to every channel over a new connection."""
        self._client, self._stream, self._restart = client, stream, restart
        for channel, heard in list(self._heard.items()):
            if self._heard.get(channel) is heard:
                await self._subscribe(client, channel, heard)

    async def _subscribe(self, client: Client, channel: str, heard: Heard) -> None:
        try:
            async with asyncio.timeout(PUBLISH_DEADLINE):
                heard.subscription = await client.subscribe(
                    self._names.live(channel),
                    cb=partial(self._receive, channel, heard),
                    pending_msgs_limit=MAX_PENDING,
                    pending_bytes_limit=MAX_PENDING_BYTES,
                )
        except Outage as error:
            self._start_again(f"NATS did not take a subscription: {reason_of(error)}")
            return
        self._unconfirmed[channel] = heard
        self.changed.set()

    def take_unconfirmed(self) -> dict[str, Heard]:
        """The subscriptions that are sent. What is sent after this call comes after them."""
        unconfirmed, self._unconfirmed = self._unconfirmed, {}
        return unconfirmed

    @property
    def has_unconfirmed(self) -> bool:
        return bool(self._unconfirmed)

    def confirm(self, subscribed: dict[str, Heard]) -> None:
        """Everything that is published from now on will be received on these channels."""
        for channel, heard in subscribed.items():
            if self._heard.get(channel) is not heard:
                continue
            heard.confirmed.set()
            if heard.is_interrupted:
                heard.is_interrupted = False
                self._deliver(Resubscribed(channel))

    def interrupt(self, until: int) -> None:
        """The connection is lost. Up to the sequence `until`, everything was received."""
        self._client = None
        self._unconfirmed.clear()
        for heard in self._heard.values():
            heard.subscription = None
            if not heard.confirmed.is_set():
                continue
            heard.confirmed.clear()
            heard.is_interrupted = True
            if heard.place is not None and heard.place.heard_until is None:
                heard.place.heard_until = max(until, heard.place.offset)

    def stand(
        self,
        channel: str,
        place: Place | None,
        position: Position,
        state: State,
        stored: Sequence[Stored],
    ) -> None:
        """Take note of where a channel stands, which was read while it was at `place`."""
        heard = self._heard.get(channel)
        if heard is None or heard.place is not place or not heard.confirmed.is_set():
            return  # it went on in the meantime
        if place is not None and place.is_at(position):
            place.heard_until = None
            return
        is_real = bool(stored)
        time = stored[-1].stored_at if stored else state.time
        heard.place = Place(position.epoch, position.offset, time, place, is_real=is_real)

    # --- Messages ---------------------------------------------------------------------

    async def _receive(self, channel: str, heard: Heard, message: Msg) -> None:
        if self._heard.get(channel) is not heard:
            return  # what was still on the way when the channel was closed
        generation = message.subject.split(".")[2]
        try:
            if generation == PLAIN:
                self._deliver(Event(channel, message.data.decode()))
            elif self._stream is not None and generation == self._stream.generation:
                publication = self._read(channel, heard, self._stream, message)
                if publication is not None:
                    self._deliver(publication)
            else:
                self._check_generation(message)
        except (ValueError, KeyError):
            POISON.inc()
            logger.warning("skipped a malformed publication in %s", channel)

    def _start_again(self, reason: str, lost: str | None = None) -> None:
        if self._restart is not None:
            self._restart(reason, lost)

    def _check_generation(self, message: Msg) -> None:
        """A record of another generation: the stream was changed. It can be read afterwards."""
        if not message.headers or "Nats-Sequence" not in message.headers:
            raise ValueError("the stream did not send it")
        self._start_again("the stream has changed")

    def _read(self, channel: str, heard: Heard, stream: Stream, message: Msg) -> Publication | None:
        """Read a record. Raises ValueError and KeyError for a malformed one."""
        headers = message.headers or {}
        offset, previous = int(headers["Nats-Sequence"]), int(headers["Nats-Last-Sequence"])
        time = headers["Nats-Time-Stamp"]
        text = message.data.decode()
        if not 0 <= previous < offset:
            raise ValueError("the offsets don't grow")
        place = heard.place
        if place is not None and place.epoch == stream.epoch:
            if offset > place.offset:
                previous = max(previous, place.offset) if place.heard_until is None else previous
            elif seconds_of(time) > seconds_of(place.time):
                # The stream has given an offset again.
                self._start_again("the stream has lost messages", stream.generation)
                return None
        if place is None or place.epoch != stream.epoch or offset > place.offset:
            until = place.heard_until if place is not None else None
            heard.place = place = Place(stream.epoch, offset, time, place, is_real=True)
            place.heard_until = until
        position = Position(epoch=stream.epoch, offset=offset)
        return Publication(channel, text, position, previous)
