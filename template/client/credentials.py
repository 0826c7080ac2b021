"""What a connection needs to know about a style of authentication."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

Send = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Sends a message on an open connection."""


@dataclass(frozen=True)
class Handshake:
    """What one socket presents. It holds secrets, so it is not shown."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    first_frame: Mapping[str, str] | None = field(default=None, repr=False)
    """Sent before anything else."""


class Unreachable(OSError):
    """The server could not be asked. Another attempt may succeed."""


class Credentials(Protocol):
    """Who connects. `server` is the address of the application, such as http://host:8000/."""

    async def handshake(self, server: str) -> Handshake:
        """What the next socket presents.

        Raises Unreachable, and Unauthenticated when there is nothing to present.
        """
        ...

    def refused(self) -> None:
        """The server did not accept the last handshake: present something fresh next time."""
        ...

    async def while_open(self, server: str, send: Send) -> None:
        """Runs for as long as a connection is open, and is cancelled then."""
        ...


def server_of(url: str) -> str:
    """The address of the application, for the address of its socket.

    Raises ValueError for an address that is none of a socket.
    """
    parts = urlsplit(url)
    schemes = {"ws": "http", "wss": "https"}
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"{url!r} must begin with ws:// or wss:// and name a host")
    path = parts.path.rpartition("/")[0] + "/"
    return urlunsplit((schemes[parts.scheme], parts.netloc, path, "", ""))


def socket_of(server: str) -> str:
    """The address of the socket of an application at this address.

    Raises ValueError for another address.
    """
    parts = urlsplit(server if "://" in server else f"http://{server}")
    schemes = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"{server!r} is not the address of a server, such as http://host:8000")
    path = parts.path.removesuffix("/ws").rstrip("/") + "/ws"
    return urlunsplit((schemes[parts.scheme], parts.netloc, path, "", ""))
