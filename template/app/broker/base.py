"""What every broker backend is, beyond what `broadcaster` asks of one."""

from abc import abstractmethod
from typing import ClassVar, Protocol

from broadcaster import BroadcastBackend, Event

from app.protocol import Position

PUBLISH_DEADLINE = 1.0
"""Seconds after which a publish that the broker did not take is an error."""


class BrokerUnavailable(Exception):
    """The broker did not answer in time, or refused."""


class Publication(Event):
    """A message on a channel, with the place in it that the broker gave."""

    def __init__(self, channel: str, message: str, position: Position) -> None:
        super().__init__(channel, message)
        self.position = position


class Subscriber(Protocol):
    """What `Broadcast.subscribe` gives."""

    async def get(self) -> Event: ...


class Backend(BroadcastBackend):
    """A broker under `broadcaster.Broadcast`.

    Beyond the interface of `broadcaster`, a backend

    - never raises out of `next_published`, `subscribe` or `unsubscribe`: it keeps
      in mind what is wanted, and restores it by itself after an outage;
    - gives publications contiguous offsets in their channel;
    - raises `BrokerUnavailable` from `publish` when the broker did not take the
      message within `PUBLISH_DEADLINE`.
    """

    schemes: ClassVar[tuple[str, ...]]
    """The URL schemes that name this broker."""

    def __init__(self, url: str) -> None:
        # BroadcastBackend.__init__ only raises NotImplementedError.
        self.url = url

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether messages are known to travel through the broker at present."""

    @abstractmethod
    async def position(self, channel: str) -> Position:
        """Wait until `channel` is subscribed, and return where it stands.

        Every publication after that position is sure to be heard. Raises
        `BrokerUnavailable` when that is not so within `PUBLISH_DEADLINE`.
        """

    @abstractmethod
    async def next_published(self) -> Publication: ...
