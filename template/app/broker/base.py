"""What every broker backend is, beyond what `broadcaster` asks of one."""

import asyncio
import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Protocol

from broadcaster import BroadcastBackend, Event

from app.protocol import Position

PUBLISH_DEADLINE = 0.8
"""Seconds after which a publish that the broker did not take is an error.

The publisher is to know within a second.
"""


class BrokerUnavailable(Exception):
    """The broker did not answer in time, or refused."""


class IdTaken(Exception):
    """The channel remembers another publication under this id."""


class Record(NamedTuple):
    """A message that its channel remembers for a while."""

    id: str
    """While the channel remembers it, publishing the same again changes nothing."""
    content: str
    """What makes it the same, other than the id."""
    message: str

    @property
    def digest(self) -> str:
        return hashlib.blake2b(self.content.encode(), digest_size=12).hexdigest()


class Publication(Event):
    """A record as it was published, with its place in the channel."""

    def __init__(self, channel: str, message: str, position: Position) -> None:
        super().__init__(channel, message)
        self.position = position


class Resubscribed(Event):
    """What came on the channel before this event may not have been heard."""

    def __init__(self, channel: str) -> None:
        super().__init__(channel, "")


class History(NamedTuple):
    """What a channel remembers."""

    position: Position
    """Of the last publication on the channel, remembered or not."""
    publications: Sequence[Publication]
    """In order and without gaps, up to `position`; the oldest may be missing."""


class Subscriber(Protocol):
    """What `Broadcast.subscribe` gives."""

    async def get(self) -> Event: ...


class Backend(BroadcastBackend):
    """A broker under `broadcaster.Broadcast`.

    What is published is a `Record`, which gets a place in its channel and is
    remembered, or a string, which goes to those who listen at the moment. Beyond the
    interface of `broadcaster`, a backend

    - never raises out of `next_published`, `subscribe` or `unsubscribe`: it keeps in
      mind what is wanted, restores it by itself after an outage, and then yields
      `Resubscribed` for each channel;
    - gives the records of a channel contiguous offsets within an epoch, and begins
      another epoch whenever a record that somebody may have seen is forgotten before
      its time;
    - fails to publish with `BrokerUnavailable` when the broker did not take the
      message within `PUBLISH_DEADLINE`.
    """

    schemes: ClassVar[tuple[str, ...]]
    """The URL schemes that name this broker."""

    def __init__(self, url: str, history_size: int, history_seconds: float) -> None:
        # BroadcastBackend.__init__ only raises NotImplementedError.
        self.url = url
        self.history_size = history_size if history_seconds else 0
        self.history_seconds = history_seconds

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether messages are known to travel through the broker at present."""

    async def publish(
        self, channel: str, message: str | Record, seen: Position | None = None
    ) -> None:
        """Publish. A record that its channel remembers already is not published again.

        Raises `IdTaken` when it remembers another one under the same id, and
        `BrokerUnavailable` when it did not take the message in time. `seen` is as with
        `history`.
        """
        taken = self.submit(channel, message, seen)
        if taken is not None:
            await taken

    @abstractmethod
    def submit(
        self, channel: str, message: str | Record, seen: Position | None = None
    ) -> asyncio.Future[None] | None:
        """Publish, after what was submitted before, without waiting for the broker.

        The answer is None when the broker has taken the message already. Raises what
        `publish` raises, or the future does.
        """

    @abstractmethod
    async def history(
        self, channel: str, *, last: int, after: int | None, seen: Position | None
    ) -> History:
        """Wait until `channel` is subscribed, and return what it remembers.

        These are the `last` publications and all `after` an offset. Every publication
        after the answer's position is sure to be heard. `seen` is the last position that
        this worker saw: a broker that does not know of it any more begins a new epoch.
        Raises `BrokerUnavailable` when there is no answer within `PUBLISH_DEADLINE`.
        """

    @abstractmethod
    async def next_published(self) -> Event: ...
