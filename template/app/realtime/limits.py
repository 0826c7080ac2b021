"""What one client may use: messages and rooms a second, and sockets at a time."""

import time
from collections import Counter
from collections.abc import Callable
from enum import Enum, auto
from ipaddress import IPv6Address, IPv6Network
from typing import Self

from fastapi import HTTPException, status

from app.realtime.metrics import CONNECTIONS, REFUSED_HANDSHAKES
from app.realtime.settings import RealtimeSettings

FULL = status.HTTP_503_SERVICE_UNAVAILABLE
TOO_MANY = status.HTTP_429_TOO_MANY_REQUESTS
RETRY_AFTER = 10
"""Seconds that a refused client is asked to wait."""


class Verdict(Enum):
    """What to do with a message."""

    FINE = auto()
    REFUSE = auto()
    """Answer `rate_limited`, and go on."""
    ABUSE = auto()
    """Close the socket with 1008."""


class RateLimit:
    """A token bucket: each message takes a token.

    It gains `per_second` tokens a second and holds twice as many, so a burst is fine.
    Refused messages take tokens too, down to minus one burst. A client that slows down is
    served again; one that goes on is abusive. 0 means no limit.
    """

    __slots__ = ("_burst", "_clock", "_per_second", "_taken_at", "_tokens")

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = 2 * per_second
        self._tokens = self._burst
        self._clock = clock
        self._taken_at = clock()

    def take(self) -> Verdict:
        """Take a token for a message."""
        if not self._per_second:
            return Verdict.FINE
        now = self._clock()
        gained = (now - self._taken_at) * self._per_second
        self._taken_at = now
        self._tokens = tokens = min(self._tokens + gained, self._burst) - 1
        if tokens >= 0:
            return Verdict.FINE
        return Verdict.REFUSE if tokens >= -self._burst else Verdict.ABUSE


class Budget:
    """A token bucket for costs, also for those known afterwards: it may be overdrawn.

    It gains `per_second` and holds at most `burst`. 0 a second means no limit.
    """

    __slots__ = ("_burst", "_left", "_per_second", "_seen_at")

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._seen_at = time.monotonic()

    @property
    def is_full(self) -> bool:
        return self._gain() >= self._burst

    def wait(self, cost: float = 0) -> float:
        """Seconds until the cost can be spent without overdrawing. 0 if it can be now."""
        missing = cost - self._gain()
        return missing / self._per_second if self._per_second and missing > 0 else 0.0

    def spend(self, cost: float) -> None:
        """Take what something cost."""
        self._left = self._gain() - cost

    def _gain(self) -> float:
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._seen_at) * self._per_second)
        self._seen_at = now
        return self._left


class Admission:
    """A socket that is counted, during a block or until it is released."""

    __slots__ = ("_limits", "_network", "_outlives_block", "_user")

    def __init__(self, limits: "ConnectionLimits", network: str | None, user: str) -> None:
        self._limits = limits
        self._network = network
        self._user = user
        self._outlives_block = False

    def outlive_block(self) -> None:
        """Go on counting after the block, until `release` is called."""
        self._outlives_block = True

    def release(self) -> None:
        self._limits.release(self._network, self._user)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._outlives_block:
            self.release()


class ConnectionLimits:
    """How many sockets are open on this worker, of each user and from each address."""

    def __init__(self, settings: RealtimeSettings) -> None:
        self._max = settings.max_connections
        self._max_per_user = settings.max_connections_per_user
        self._max_per_address = settings.max_connections_per_address
        self._open = 0
        self._of_user: Counter[str] = Counter()
        self._of_address: Counter[str] = Counter()

    def admit(self, address: str | None, user: str) -> Admission:
        """Count a socket. Call it before `accept`. `user` is an id.

        Raises HTTPException: 503 when the worker is full, 429 when the user or the
        address has too many sockets. `address` is the client's address, or None for a
        Unix socket, which is not limited. Behind a proxy it is what uvicorn takes from
        `X-Forwarded-For`, if `FORWARDED_ALLOW_IPS` lists the proxy; otherwise all clients
        of the proxy share its address.
        """
        network = network_of(address) if address else None
        if reached(self._open, self._max):
            raise refusal("worker_full", FULL, "This server is full: try again later.")
        if reached(self._of_user[user], self._max_per_user):
            raise refusal("user", TOO_MANY, "You have too many connections: close one first.")
        if network and reached(self._of_address[network], self._max_per_address):
            raise refusal("address", TOO_MANY, "Too many connections come from your address.")
        self._open += 1
        self._of_user[user] += 1
        if network:
            self._of_address[network] += 1
        CONNECTIONS.inc()
        return Admission(self, network, user)

    def release(self, network: str | None, user: str) -> None:
        """Stop counting a socket."""
        self._open -= 1
        release(self._of_user, user)
        if network:
            release(self._of_address, network)
        CONNECTIONS.dec()


def network_of(address: str) -> str:
    """What counts as one address. Of IPv6 it is the /64, which one host may own."""
    if ":" not in address:  # to parse IPv4 would be most of what the limits cost
        return address
    try:
        ip = IPv6Address(address)
    except ValueError:  # a proxy may name its clients in other ways
        return address
    if ip.ipv4_mapped:  # how a socket for both versions shows IPv4
        return str(ip.ipv4_mapped)
    return str(IPv6Network((int(ip), 64), strict=False))


def reached(count: int, limit: int) -> bool:
    return 0 < limit <= count


def release(counts: Counter[str], key: str) -> None:
    """Count one less, and forget a key that is at zero."""
    counts[key] -= 1
    if not counts[key]:
        del counts[key]


def refusal(reason: str, code: int, detail: str) -> HTTPException:
    """The answer to a handshake above a limit."""
    REFUSED_HANDSHAKES.labels(reason).inc()
    return HTTPException(code, detail, {"Retry-After": str(RETRY_AFTER)})
