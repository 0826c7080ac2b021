"""The client: `connect`, and what it yields."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar, overload

from app.realtime.events import Event
from client.calls import Result
from client.changes import Changes
from client.connection import Connection, State, Status
from client.credentials import Credentials
from client.errors import ClientError, ConnectionEnded
from client.messages import Member, Position
from client.room import Room

Expected = TypeVar("Expected", bound=Event)

CLOSED = "this client was closed"


@asynccontextmanager
async def connect(
    url: str,
    credentials: Credentials,
    *,
    messages_per_second: float = 15,
    inbox_size: int = 1000,
    wait: bool = True,
) -> AsyncIterator["Client"]:
    """Connect to a server, and again whenever the connection is lost.

    `url` is the address of the socket, such as ws://127.0.0.1:8000/ws. The block begins when
    the connection is open for the first time, unless `wait` is false. While the server can't
    be reached, this keeps trying: limit it with `asyncio.timeout`.

    `messages_per_second` must be below the server's MESSAGES_PER_SECOND. `inbox_size` is how
    many messages of each room may wait for a reader.

    Raises ValueError for a bad address, and ConnectionEnded if the server refuses.
    """
    client = Client(url, credentials, messages_per_second, inbox_size)
    running = asyncio.create_task(client.run())
    try:
        if wait:
            await client.opened()
        yield client
    finally:
        client.close()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


class Client:
    """A client, made by `connect`."""

    def __init__(
        self, url: str, credentials: Credentials, messages_per_second: float, inbox_size: int
    ) -> None:
        self._changes = Changes()
        self._connection = Connection(
            url,
            credentials,
            messages_per_second=messages_per_second,
            inbox_size=inbox_size,
            on_change=self._changes.tell,
        )

    @property
    def status(self) -> Status:
        """Where the connection stands, with a sentence for people."""
        return self._connection.status

    @property
    def user(self) -> Member:
        """This client's user, as the server calls it."""
        user = self._connection.rooms.user
        if user is None:
            raise RuntimeError("the server has not said yet who this is")
        return user

    @property
    def rooms(self) -> dict[str, Room]:
        """The rooms that this client is in, by name."""
        return self._connection.rooms.all

    @property
    def unsent(self) -> int:
        """How many own messages the server has not acknowledged."""
        return sum(len(room.outbox) for room in self.rooms.values())

    async def join(self, name: str, *, since: Position | None = None) -> Room:
        """Enter a room, and stay in it over reconnects.

        The room begins with its most recent messages, or with those after `since`. The room
        `@me` is the user's own: it has what the application sends to that user.

        Raises ServerError if the server refuses, and ValueError for a name that is none.
        """
        room = self._connection.rooms.enter(name, since)
        try:
            await room.entered()
        except BaseException:
            if not room.is_wanted:
                await room.leave()
            raise
        return room

    @overload
    async def call(self, event: Event) -> Result: ...

    @overload
    async def call(self, event: Event, expect: type[Expected]) -> Expected: ...

    async def call(self, event: Event, expect: Any = object) -> Any:
        """Ask the application something. Returns the event that it answers, or None.

        With `expect`, the answer is of that type; another one raises TypeError. A call is sent
        once. Raises ServerError, ConnectionLost if the connection is lost before the answer,
        and ConnectionEnded. Limit the time with `asyncio.timeout`.
        """
        rooms = self._connection.rooms
        result = await rooms.calls.make(event, rooms.wake)
        if not isinstance(result, expect):
            raise TypeError(f"the answer to {event.__event__!r} is {result!r}")
        return result

    def changes(self) -> AsyncIterator[None]:
        """Yields once, and again when the status or anything in a room has changed."""
        return self._changes.follow()

    def try_now(self) -> None:
        """Don't wait any longer for the next attempt to connect."""
        self._connection.try_now()

    # --- What `connect` does --------------------------------------------------------

    async def run(self) -> None:
        try:
            await self._connection.run()
        except Exception as error:
            self._connection.rooms.end(error, ClientError(f"this client failed: {error!r}"))
            self._changes.tell()
            raise

    async def opened(self) -> None:
        """Wait for the first connection. Raises ConnectionEnded if there can't be one."""
        while self.status.state is not State.OPEN:
            self._connection.rooms.raise_end()
            await self._changes.wait()

    def close(self) -> None:
        """Nothing comes any more. Loops over rooms end."""
        self._connection.rooms.end(StopAsyncIteration(), ConnectionEnded(0, CLOSED))
