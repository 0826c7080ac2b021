"""The contract that every broker backend keeps.

`tests/engine/broker/contract.py` proves it: one more broker is one folder here, one
adapter in `tests/support/broker/`, and one line that runs the suite on it.
"""

import asyncio
import hashlib
import logging
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple, Protocol

from broadcaster import BroadcastBackend, Event

from app.realtime.protocol import Position

logger = logging.getLogger(__name__)

QUEUE_SIZE = 10_000
"""Events that may wait for `broadcaster`. It hears `Resubscribed` for what did not fit."""

PUBLISH_DEADLINE = 0.8
"""Seconds after which a publish that the broker did not confirm fails.

The publisher should know within a second.
"""


class BrokerUnavailable(Exception):
    """The broker did not answer in time, or refused the request.

    A publication that failed with this error may still have reached the broker. Publishing
    it again under the same id is safe: it is delivered once.
    """


class IdTaken(Exception):
    """The channel remembers a publication with this id and other content."""


class Record(NamedTuple):
    """A message that its channel remembers for a while."""

    id: str
    """While the channel remembers this id, publishing the record again changes nothing."""
    content: str
    """What two records with the same id must have in common to count as the same."""
    message: str
    """What subscribers receive."""

    @property
    def digest(self) -> str:
        return hashlib.blake2b(self.content.encode(), digest_size=12).hexdigest()


class Publication(Event):
    """A record as it was published."""

    def __init__(self, channel: str, message: str, position: Position, previous: int) -> None:
        super().__init__(channel, message)
        self.position = position
        """Its place in the channel."""
        self.previous = previous
        """The offset of the publication before it in this channel and epoch.

        For the first one that the broker knows of: where the channel stood, which can be 0.
        """


class Resubscribed(Event):
    """The subscription was interrupted: publications before this event may be missing."""

    def __init__(self, channel: str) -> None:
        super().__init__(channel, "")


class History(NamedTuple):
    """What a channel remembers, read at one moment."""

    position: Position
    """Where the channel stands: the position of its last publication, remembered or not."""
    publications: Sequence[Publication]
    """Oldest first, each the `previous` of the next, the last one at `position`."""
    quiet_since: int | None = None
    """The lowest offset after which nothing was published until `reaches_back_to`, if known.

    For brokers that give the offsets of all channels from one sequence.
    """
    quiet_until: int | None = None
    """The highest offset up to which nothing was published after `position`, if known."""

    @property
    def reaches_back_to(self) -> int:
        """The offset before the first of `publications`, or where the channel stands."""
        return self.publications[0].previous if self.publications else self.position.offset

    def has_all_after(self, offset: int) -> bool:
        """Whether `publications` has everything that came after an offset of this epoch.

        The broker lost its data if somebody has received an offset that it does not know.
        """
        start, end = self.reaches_back_to, self.position.offset
        if (start if self.quiet_since is None else self.quiet_since) <= offset <= start:
            return True
        first = self.publications[0].position.offset if self.publications else end
        return first <= offset <= max(end, self.quiet_until or 0)


class Page(NamedTuple):
    """A part of what a channel remembers."""

    epoch: str
    publications: Sequence[Publication]
    """Oldest first, without gaps."""
    complete: bool
    """Whether nothing older is remembered."""


class Subscriber(Protocol):
    """What `Broadcast.subscribe` returns."""

    async def get(self) -> Event: ...


Listener = Callable[[Event], None]
"""Takes an event at once, without waiting."""


class Backend(BroadcastBackend):
    """A message broker, used through `broadcaster.Broadcast` or directly.

    Rooms listen directly: the backend calls them with every event of their channel, which
    costs neither a queue nor a task. Whatever else wants messages subscribes through
    `broadcaster`.

    There are two kinds of messages. A `Record` gets a position in its channel and is
    remembered. A plain string goes to those who are subscribed at that moment, and is
    then forgotten.

    A backend guarantees:

    **Positions.** Every record gets a position: an epoch and an offset. Within an epoch the
    offsets of a channel grow; they need not be contiguous, so nobody calculates with them.
    Each publication also names the offset `previous` to its own. A subscriber whose own
    offset is another one has missed something, or the broker has lost something.

    **Epochs.** When publications that somebody may have seen are lost before their time, for
    example because the broker restarted without its data, a new epoch begins. An offset of
    an epoch is never given twice in a channel.

    **Order.** Records of a channel are delivered in the order of their offsets. What one
    backend submits to one channel is published in the order of submission.

    **Once.** While a channel remembers a record, publishing the same id again delivers
    nothing and answers with the position of the first. Other content under that id raises
    `IdTaken`.

    **History.** A channel remembers the last `history_size` records for `history_seconds`.

    **Deadlines.** `publish` and the reading methods fail with `BrokerUnavailable` within
    about a second. There is no silent loss: a publish that did not fail is in the history.

    **Reconnection.** `connect` does not fail when the broker is unreachable. One task owns the
    connection: it reconnects for ever with full jitter and restores what is subscribed.
    `listen`, `subscribe` and their opposites never raise. After an interruption
    `Resubscribed` is delivered for each channel that may have missed something.

    **Bounds.** Every queue is bounded. A message that can't be decoded is counted
    (`websocket_broker_poison_total`), logged and skipped.

    **Nothing for nothing.** Subscribing to a channel or reading it stores nothing in the
    broker that outlives the history.
    """

    schemes: ClassVar[tuple[str, ...]]
    """The URL schemes that select this backend."""

    is_local: ClassVar[bool] = False
    """Whether messages stay in this process, so that no other process can publish."""

    def __init__(
        self, url: str, history_size: int, history_seconds: float, history_bytes: int = 0
    ) -> None:
        """Raises ValueError, with a reason, for a URL or an option that can't be used.

        `history_bytes` bounds what all channels remember, if the backend itself keeps it.
        0 means no bound.
        """
        # BroadcastBackend.__init__ only raises NotImplementedError.
        self.url = url
        self.history_size = history_size if history_seconds else 0
        self.history_seconds = history_seconds
        self.history_bytes = history_bytes
        self._listeners: dict[str, Listener] = {}
        self._subscribed: set[str] = set()  # through broadcaster
        self._events: asyncio.Queue[Event] = asyncio.Queue(QUEUE_SIZE)
        self._overflowed: set[str] = set()

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether this backend has recently received a message that it sent to itself."""

    @property
    def is_catching_up(self) -> bool:
        """Whether the broker is reached, but has to be read before it can be used."""
        return False

    async def publish(  # type: ignore[override] # that of broadcaster returns nothing
        self, channel: str, message: str | Record, seen: Position | None = None
    ) -> Position | None:
        """Publish a message. Returns the position of a record, and None for a string.

        Raises `BrokerUnavailable` and `IdTaken`. `seen` is explained at `history`.
        """
        answer = self.submit(channel, message, seen)
        return await answer if isinstance(answer, asyncio.Future) else answer

    @abstractmethod
    def submit(
        self, channel: str, message: str | Record, seen: Position | None = None
    ) -> "asyncio.Future[Position | None] | Position | None":
        """Publish a message without waiting for the broker's answer.

        Returns the answer of `publish`, or a future of it. Errors are raised here or by the
        future.
        """

    @abstractmethod
    async def history(
        self,
        channel: str,
        *,
        last: int,
        after: Sequence[Position] = (),
        seen: Position | None = None,
    ) -> History:
        """Wait until `channel` is subscribed, then return what it remembers.

        The answer has at least the `last` publications, and all publications after each
        position in `after` that history reaches back to. Other positions add nothing, so
        nobody can make the backend read more by naming one. Every publication after the
        answer's position will be delivered to the subscriber.

        `seen` is the last position that this worker has seen in the channel. If the broker
        has lost it, the broker begins a new epoch.
        """

    @abstractmethod
    async def page(self, channel: str, *, before: int | None, limit: int) -> Page:
        """Return the `limit` publications before an offset; None means the newest ones."""

    # --- Who hears what is published ------------------------------------------------

    async def listen(self, channel: str, listener: Listener) -> None:
        """Call `listener` with every event of a channel. A channel has one listener."""
        is_open = self._is_heard(channel)
        self._listeners[channel] = listener
        if not is_open:
            await self._open(channel)

    async def ignore(self, channel: str) -> None:
        """End what `listen` began."""
        self._listeners.pop(channel, None)
        if not self._is_heard(channel):
            await self._close(channel)

    async def subscribe(self, channel: str) -> None:
        """Return the events of a channel from `next_published`. `broadcaster` calls it."""
        is_open = self._is_heard(channel)
        self._subscribed.add(channel)
        if not is_open:
            await self._open(channel)

    async def unsubscribe(self, channel: str) -> None:
        """End what `subscribe` began."""
        self._subscribed.discard(channel)
        if not self._is_heard(channel):
            await self._close(channel)

    async def next_published(self) -> Event:
        """The next event of a channel that is subscribed."""
        if self._overflowed and self._events.empty():
            return Resubscribed(self._overflowed.pop())
        return await self._events.get()

    def _is_heard(self, channel: str) -> bool:
        return channel in self._listeners or channel in self._subscribed

    def _deliver(self, event: Event) -> None:
        """Pass on an event from the broker. Called in the order of its channel."""
        listener = self._listeners.get(event.channel)
        if listener is not None:
            try:
                listener(event)
            except Exception:
                logger.exception("could not deliver", extra={"channel": event.channel})
        if event.channel in self._subscribed:
            try:
                self._events.put_nowait(event)
            except asyncio.QueueFull:
                self._overflowed.add(event.channel)

    @abstractmethod
    async def _open(self, channel: str) -> None:
        """Have the broker send what is published on a channel."""

    @abstractmethod
    async def _close(self, channel: str) -> None:
        """Nobody wants what is published on a channel any more."""
