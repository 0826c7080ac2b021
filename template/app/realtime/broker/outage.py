"""What all brokers say and do while they are away."""

import logging
from collections.abc import Callable

from app.realtime.broker.base import BrokerUnavailable

logger = logging.getLogger(__name__)


class OutageGuard:
    """Remembers whether the last request failed.

    Only the first request of an outage waits for its deadline. If each of many requests waited,
    the sockets would be left unread until their keepalive fails.
    """

    def __init__(self, broker: str, is_alive: Callable[[], bool]) -> None:
        """`broker` is its name in messages."""
        self._broker = broker
        self._is_alive = is_alive
        self._failed = False

    def check(self) -> None:
        """Raise BrokerUnavailable if the last request failed and the broker is not back."""
        if self._failed and not self._is_alive():
            raise BrokerUnavailable(f"{self._broker} is unreachable")

    def answered(self) -> None:
        """The broker answered a request."""
        self._failed = False

    def failed(self, error: BrokerUnavailable) -> BrokerUnavailable:
        """A request failed. Logs the first error of an outage, and returns the error."""
        if not self._failed:
            logger.warning("%s", error)
        self._failed = True
        return error


def describe(error: BaseException) -> str:
    """Describe an error in one line. Some exceptions have no message, only a name."""
    return f"{type(error).__name__} {error}".strip().partition("\n")[0]
