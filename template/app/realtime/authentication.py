"""What the engine needs to know of the style of authentication."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fastapi import APIRouter, FastAPI

from app.realtime.identity import User
from app.realtime.protocol import Error, Model

OnEnd = Callable[[str], None]
"""Called with the reason, in words."""


class Session(Protocol):
    """The login behind one open socket."""

    def stop(self) -> None:
        """The socket is closed."""

    async def receive(self, message: Model) -> Error | None:
        """Carry out one of the style's own messages. Returns why it failed, if it did."""


OpenSession = Callable[[FastAPI, User, OnEnd], Session]
"""Called when a socket has opened. Calls `OnEnd` once, if the login ends before the socket."""


@dataclass(frozen=True)
class Security:
    """How clients present their credential to a socket, for the AsyncAPI document."""

    name: str
    scheme: Mapping[str, str]
    """A Security Scheme Object of AsyncAPI 3.0."""
    first_message: type[Model] | None = None
    """What a client sends before anything else, if the credential is in a message."""


@dataclass(frozen=True)
class Authentication:
    """A style of authentication: how clients prove who they are."""

    authenticate: Callable[..., Any]
    """A FastAPI dependency for requests and handshakes. Returns a `User`, or raises."""
    routers: Sequence[APIRouter] = ()
    """HTTP routes, such as those that log in and out."""
    messages: Sequence[type[Model]] = ()
    """What clients may send on a socket beyond the engine's messages."""
    open_session: OpenSession | None = None
    """Without it, a socket never ends because of its login."""
    is_sent_by_browsers: bool = False
    """Whether browsers send the credential by themselves, with every request."""
    security: Security | None = None
    """Without it, anybody may connect."""
