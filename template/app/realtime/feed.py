"""Brings what is published in a room to its members, in order and without gaps."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from broadcaster import Event

from app.realtime.broker import Backend, BrokerUnavailable, History, Publication, Resubscribed
from app.realtime.metrics import GAPS, POISON
from app.realtime.protocol import Position
from app.realtime.room import Room

logger = logging.getLogger(__name__)

CATCH_UP_DEADLINE = 10.0
"""Seconds after which publications that could not be read from history count as lost."""

CATCH_UP_AT_ONCE = 100
"""Rooms that read history at the same time.

After an outage all rooms have to, and the broker has `PUBLISH_DEADLINE` for an answer.
"""

MAX_HELD = 1000
"""Events that may wait until a room is current. With one more, it reads history again."""


class Feed:
    """The subscription of a room.

    The backend calls `receive` with every event, and most go on to the members at once.
    If publications before an event are missing, a task reads them from history. Events that
    come in the meantime are held back.
    """

    def __init__(
        self,
        backend: Backend,
        channel: str,
        get_lock: Callable[[], asyncio.Lock],
        catching_up: asyncio.Semaphore,
    ) -> None:
        """`get_lock` returns the lock of the room. `catching_up` allows to read history."""
        self._backend = backend
        self._channel = channel
        self._get_lock = get_lock
        self._catching_up = catching_up
        self._room: Room | None = None
        self._held: deque[Event] = deque()
        self._task: asyncio.Task[None] | None = None

    async def open(self, last: int, after: Sequence[Position]) -> History:
        """Subscribe, and read history as `Backend.history` does.

        Events are held back until `start`. Raises BrokerUnavailable.
        """
        await self._backend.listen(self._channel, self.receive)
        try:
            return await self._backend.history(self._channel, last=last, after=after)
        except BaseException:
            await self.close()
            raise

    def start(self, room: Room) -> None:
        """Pass on events to the room, beginning with those that were held back."""
        self._room = room
        held, self._held = self._held, deque()
        for event in held:
            self.receive(event)

    async def close(self) -> None:
        """Unsubscribe."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._backend.ignore(self._channel)

    def receive(self, event: Event) -> None:
        """Take an event from the backend."""
        room = self._room
        if room is not None and self._task is None and pass_on(room, event):
            return
        if len(self._held) >= MAX_HELD:
            self._held.clear()
            event = Resubscribed(self._channel)
        self._held.append(event)
        if room is not None and self._task is None:
            self._task = asyncio.create_task(self._catch_up(room))

    async def _catch_up(self, room: Room) -> None:
        """Fill in what is missing before the first event that is held back, and go on."""
        while self._held:
            event = self._held.popleft()
            try:
                self._make_up(room, event, is_read=await self._read_history(room))
            except Exception:
                logger.exception("could not catch up", extra={"room": room.name})
            while self._held and pass_on(room, self._held[0]):
                self._held.popleft()
        self._task = None

    def _make_up(self, room: Room, event: Event, *, is_read: bool) -> None:
        """Pass on an event that something was missing before, now that history was read."""
        if not isinstance(event, Publication):
            if not is_read:
                room.resync(room.position)
            return
        if not is_read:
            room.resync(Position(epoch=event.position.epoch, offset=event.previous))
        if not room.deliver(event):
            POISON.inc()
            logger.warning("skipped what nobody published", extra={"room": room.name})

    async def _read_history(self, room: Room) -> bool:
        """Fill in what the subscription missed. False if history can't be read."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CATCH_UP_DEADLINE):
                while True:
                    with suppress(BrokerUnavailable):
                        async with self._catching_up:
                            await self._fill_in(room)
                        return True
                    await asyncio.sleep(random.uniform(0, 1))  # noqa: S311
        return False

    async def _fill_in(self, room: Room) -> None:
        async with self._get_lock():
            seen = room.position
            history = await self._backend.history(self._channel, last=0, after=[seen], seen=seen)
            filled = room.fill(history)
        if room.position != seen:
            GAPS.labels("filled" if filled else "resync").inc()


def pass_on(room: Room, event: Event) -> bool:
    """Send an event to the members. False if something before it is missing."""
    if isinstance(event, Publication):
        return room.deliver(event)
    if isinstance(event, Resubscribed):
        return False
    room.signal(event.message)
    return True
