"""Publishing: to a room or to a user, from any process that reaches the broker."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from anyio.from_thread import BlockingPortal, start_blocking_portal

from app.realtime.broker import Backend, BrokerUnavailable, Record, create_backend
from app.realtime.commands import CHANNEL, Command
from app.realtime.events import Event, Signal
from app.realtime.identity import User, room_of_user
from app.realtime.metrics import PUBLICATIONS, PUBLICATIONS_REFUSED
from app.realtime.payloads import publication_body, signal_body
from app.realtime.protocol import ROOM_PATTERN, Position
from app.realtime.settings import RealtimeSettings

REACH_SECONDS = 2.0
"""How long a publisher of another process waits for a broker that can't be reached."""

ROOM = re.compile(ROOM_PATTERN + r"|@(?!me$)[!-~]{1,64}")


class LocalBroker(RuntimeError):
    """The broker carries messages within one process, so another one can't publish."""

    def __init__(self) -> None:
        super().__init__(
            "BROKER_URL is memory://, which carries messages within one process only. To publish "
            "from another process, give it and the server the BROKER_URL of a broker."
        )


class Publisher:
    """Sends the application's events and signals.

    Each method raises `BrokerUnavailable` when the broker did not take the message within
    a second. Uncaught, that is HTTP 503 in a route and an `unavailable` error in a handler.
    """

    def __init__(
        self, backend: Backend, seen: Callable[[str], Position | None] = lambda _: None
    ) -> None:
        """`seen` tells which position of a room this process has seen last."""
        self._backend = backend
        self._seen = seen

    async def publish(
        self,
        room: str,
        event: Event,
        *,
        id: str | None = None,  # noqa: A002
        sender: User | None = None,
    ) -> Position:
        """Publish an event to a room. Returns its position once the broker has it.

        With an `id` of your own (1 to 64 printable characters), publishing can be repeated
        safely: as long as the room remembers the id, the event is delivered once, and the
        position is that of the first. Other content under the same id raises `IdTaken`.

        Without `sender`, clients see that the event comes from the application.
        """
        check_room(room)
        if id is not None and not (1 <= len(id) <= 64 and id.isprintable()):
            raise ValueError("an id has 1 to 64 printable characters")
        try:
            answer = self.submit(room, event, id or secrets.token_hex(8), sender)
            if isinstance(answer, asyncio.Future):
                position = await answer
            else:  # a loop that publishes must not keep the sockets from their turn
                position = answer
                await asyncio.sleep(0)
        except BrokerUnavailable:
            PUBLICATIONS_REFUSED.labels("unavailable").inc()
            raise
        assert position is not None  # noqa: S101 - a record has one
        PUBLICATIONS.inc()
        return position

    async def notify(
        self,
        user_id: str,
        event: Event,
        *,
        id: str | None = None,  # noqa: A002
        sender: User | None = None,
    ) -> Position:
        """Publish an event to a user: to every client of theirs that has joined `@me`.

        The user's room remembers events as any other does, so a client that is away
        receives them when it comes back.
        """
        return await self.publish(room_of_user(user_id), event, id=id, sender=sender)

    async def signal(self, room: str, signal: Signal, *, sender: User | None = None) -> None:
        """Send a signal to everybody who is in a room. `User.room` is a user's own room."""
        check_room(room)
        await self._backend.publish(channel_of(room), f" {signal_body(signal, sender)}")

    async def disconnect(self, user_id: str) -> None:
        """Close all sockets of a user with code 4403, on every worker."""
        await self._command(Command(user=user_id))

    async def evict(self, user_id: str, room: str) -> None:
        """Remove a user from a room, on every worker. `may` decides who can join again."""
        check_room(room)
        await self._command(Command(user=user_id, room=room))

    async def _command(self, command: Command) -> None:
        message = command.model_dump_json(exclude_none=True)
        await self._backend.publish(CHANNEL, Record(secrets.token_hex(8), message, message))

    # --- What the engine uses for clients ------------------------------------------

    def submit(
        self,
        room: str,
        event: Event,
        id: str,  # noqa: A002
        sender: User | None,
    ) -> asyncio.Future[Position | None] | Position | None:
        """Publish without waiting: as `Backend.submit`, for an event."""
        data = event.to_json()
        body = publication_body(event, data, id, sender)
        content = f"{sender.id if sender else ''} {event.__event__} {data}"
        return self._backend.submit(channel_of(room), Record(id, content, body), self._seen(room))

    def submit_signal(self, room: str, signal: Signal, sender: User, connection: str) -> None:
        """Send a client's signal to the others in a room. Nobody waits for the answer.

        Raises `BrokerUnavailable` when the broker is known to be away.
        """
        message = f"{connection} {signal_body(signal, sender)}"
        answer = self._backend.submit(channel_of(room), message)
        if isinstance(answer, asyncio.Future):
            answer.add_done_callback(asyncio.Future.exception)  # a signal may get lost


def channel_of(room: str) -> str:
    """The broker's channel for a room."""
    return f"room:{room}"


def check_room(room: str) -> None:
    """Raises ValueError for a name that a room can't have."""
    if not ROOM.fullmatch(room):
        raise ValueError(
            f"{room!r} is not the name of a room: use 1 to 64 letters, digits, '_', '.', ':' and "
            "'-', or `user.room` for the room of a user"
        )


@asynccontextmanager
async def open_publisher(settings: RealtimeSettings) -> AsyncIterator[Publisher]:
    """A publisher for another asyncio process, connected for the length of the block.

    Raises `LocalBroker` for `memory://`. An unreachable broker is no error here: after two
    seconds the block begins, and publishing raises `BrokerUnavailable`.
    """
    backend = create_backend(settings.broker_url, settings.history_size, settings.history_seconds)
    if backend.is_local:
        raise LocalBroker
    await backend.connect()
    try:
        await reach(backend)
        yield Publisher(backend)
    finally:
        await backend.disconnect()


async def reach(backend: Backend) -> None:
    """Wait until a backend can be used, or for `REACH_SECONDS` if its broker is away."""
    clock = asyncio.get_running_loop().time
    with suppress(TimeoutError):
        async with asyncio.timeout(REACH_SECONDS) as limit:
            while not backend.alive:
                await asyncio.sleep(0.01)
                if backend.is_catching_up:
                    limit.reschedule(clock() + REACH_SECONDS)


class SyncPublisher:
    """The methods of `Publisher` for code without an event loop."""

    def __init__(self, portal: BlockingPortal, publisher: Publisher) -> None:
        self._portal = portal
        self._publisher = publisher

    def publish(
        self,
        room: str,
        event: Event,
        *,
        id: str | None = None,  # noqa: A002
        sender: User | None = None,
    ) -> Position:
        """As `Publisher.publish`."""

        async def publish() -> Position:
            return await self._publisher.publish(room, event, id=id, sender=sender)

        return self._portal.call(publish)

    def notify(
        self,
        user_id: str,
        event: Event,
        *,
        id: str | None = None,  # noqa: A002
        sender: User | None = None,
    ) -> Position:
        """As `Publisher.notify`."""
        return self.publish(room_of_user(user_id), event, id=id, sender=sender)

    def signal(self, room: str, signal: Signal) -> None:
        """As `Publisher.signal`."""
        self._portal.call(self._publisher.signal, room, signal)

    def disconnect(self, user_id: str) -> None:
        """As `Publisher.disconnect`."""
        self._portal.call(self._publisher.disconnect, user_id)

    def evict(self, user_id: str, room: str) -> None:
        """As `Publisher.evict`."""
        self._portal.call(self._publisher.evict, user_id, room)


@contextmanager
def open_sync_publisher(settings: RealtimeSettings) -> Iterator[SyncPublisher]:
    """A publisher for Celery, cron and scripts, connected for the length of the block.

    It runs an event loop in a thread of its own, and may be used from several threads. A
    process that forks has to open it after the fork. Raises as `open_publisher` does.
    """
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(open_publisher(settings)) as publisher,
    ):
        yield SyncPublisher(portal, publisher)
