"""The server that is checked, and the users who check it."""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.support.client import JSON, Client, Credentials, open_client


class Skipped(Exception):
    """A check can't be made of this server. The text says why."""


class Failed(Exception):
    """The server does not do what it should. The text says what it did."""


@dataclass(frozen=True)
class Sample:
    """An event, and data that the server accepts for it."""

    event: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """A server, and what it accepts."""

    url: str
    """Of the endpoint, such as ws://127.0.0.1:8000/ws."""
    users: Sequence[Credentials]
    """Of different users. A check that needs more of them is skipped."""
    message: Sample = Sample("chat.message", {"text": "hello"})
    signal: Sample = Sample("chat.typing")
    call: Sample | None = None
    max_frame_bytes: int = 65536

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def base(self) -> str:
        """The address without the endpoint."""
        return self.url.removesuffix(self.path)

    @asynccontextmanager
    async def open(self, user: int = 0, **options: Any) -> AsyncIterator[Client]:
        """A socket of a user, after its welcome. Raises Skipped if there are fewer users."""
        if user >= len(self.users):
            raise Skipped(f"it takes {user + 1} users: see --header and --token")
        async with open_client(self.base, self.users[user], self.path, **options) as client:
            await client.expect("welcome")
            yield client

    @asynccontextmanager
    async def pair(self) -> AsyncIterator[tuple[Client, Client]]:
        """Sockets of two different users."""
        async with self.open() as first, self.open(1) as second:
            expect(first.user["id"] != second.user["id"], "both credentials are of one user")
            yield first, second

    async def publish(self, client: Client, room: str, id: str | None = None) -> str:  # noqa: A002
        """Publish the sample message. Returns its id."""
        return await client.publish_event(room, self.message.event, {**self.message.data}, id)


def new_room() -> str:
    """A room that nobody has used."""
    return f"conformance.{secrets.token_hex(8)}"


def expect(holds: object, otherwise: str) -> None:
    """Raises Failed unless it holds."""
    if not holds:
        raise Failed(otherwise)


def equal(found: object, wanted: object, what: str) -> None:
    """Raises Failed unless both are the same."""
    expect(found == wanted, f"{what}: {shortened(found)} instead of {shortened(wanted)}")


def shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}…"


def messages_in(found: Sequence[JSON], room: str) -> list[JSON]:
    """The messages of a room among everything that came."""
    return [it for it in found if it["type"] == "message" and it["room"] == room]
