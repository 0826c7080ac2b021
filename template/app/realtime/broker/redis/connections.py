"""What BROKER_URL says about the servers, and connections as this backend needs them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from app.realtime.broker.base import PUBLISH_DEADLINE

FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
"""Options that name a file."""


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Target(NamedTuple):
    """A URL that may name several servers, taken apart."""

    scheme: str
    """redis, or rediss for TLS."""
    credentials: str
    """As in the URL, with the @."""
    addresses: Sequence[Address]
    path: str
    options: dict[str, str]

    def url(self, address: Address, path: str = "") -> str:
        """The URL of one server."""
        netloc = f"{self.credentials}{address}"
        return urlunsplit((self.scheme, netloc, path, urlencode(self.options), ""))


def parse_target(url: str, default_port: int) -> Target:
    """Take a URL apart. Raises ValueError if it can't be used."""
    parts = urlsplit(url)
    credentials, at, hosts = parts.netloc.rpartition("@")
    addresses = []
    for host in hosts.split(","):
        one = urlsplit(f"//{host}")
        if not one.hostname:
            raise ValueError("it names no host, or has a comma too many")
        addresses.append(Address(one.hostname, one.port or default_port))
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    scheme = parts.scheme.partition("+")[0]
    return Target(scheme, credentials + at, addresses, parts.path, options)


def connection_pool(url: str, **more: Any) -> BlockingConnectionPool:
    """Connections to one server. Raises ValueError for a URL that can't be used.

    `more` are arguments of the pool and its connections.
    """
    # The supervisor reconnects. A publish that may have been carried out must not be repeated
    # without the sender's knowledge.
    options: dict[str, Any] = {
        "max_connections": 3,  # one subscribes, one writes, one reads history
        "timeout": PUBLISH_DEADLINE,
        "retry": Retry(NoBackoff(), retries=0, supported_errors=()),
        "socket_connect_timeout": PUBLISH_DEADLINE,
        # Deadlines are ours. With one of its own, redis-py writes under asyncio.wait_for,
        # which loses cancellations before Python 3.12 (python/cpython#86296).
        "socket_timeout": None,
        "decode_responses": False,
        # With them, redis-py 8.1 hands out idle connections that the server closed.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    if not re.fullmatch(r"(/[0-9]*)?", urlsplit(url).path):  # to redis-py, database 0
        raise ValueError("a database has a number, as in redis://localhost:6379/0")
    chosen: dict[str, Any] = dict(parse_url(url))
    for name, value in chosen.items():
        if name in options:
            raise ValueError(f"{name} is not to be chosen")
        if name in FILES and not Path(value).is_file():
            raise ValueError(f"{name}: there is no file {value}")
    pool = BlockingConnectionPool(**{**chosen, **options, **more})
    try:
        pool.make_connection()  # type: ignore[no-untyped-call]
    except TypeError as error:  # its message ends with the name
        refuse(str(error).split()[-1])
    return pool


def refuse(option: str) -> NoReturn:
    """Tell that there is no such option."""
    raise ValueError(f"there is no {option}")
