"""What every worker has to do: close a user's sockets, or remove a user from a room.

A command is a record on a channel of the broker, so that a worker whose connection to the
broker was interrupted reads afterwards what it missed.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from broadcaster import Broadcast
from pydantic import Field, ValidationError

from app.realtime.broker import Backend, BrokerUnavailable, Publication, Resubscribed, Subscriber
from app.realtime.metrics import POISON
from app.realtime.protocol import Model, Position

CHANNEL = "commands"

logger = logging.getLogger(__name__)


class Command(Model):
    """Disconnect a user, or, with a room, evict the user from it."""

    user: str
    room: str | None = None
    sent_at: float = Field(default_factory=time.time)
    """Seconds since 1970."""


class Commands:
    """Carries out each command once on this worker, in order."""

    def __init__(
        self, backend: Backend, broadcast: Broadcast, carry_out: Callable[[Command], None]
    ) -> None:
        self._backend = backend
        self._broadcast = broadcast
        self._carry_out = carry_out
        self._started_at = time.time()
        self._position: Position | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Receive commands for the length of the block."""
        async with self._broadcast.subscribe(CHANNEL) as subscriber, asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(self._receive(subscriber))
            try:
                yield
            finally:
                receiving.cancel()

    async def _receive(self, subscriber: Subscriber) -> None:
        await self._catch_up()
        while True:
            event = await subscriber.get()
            if isinstance(event, Resubscribed):
                await self._catch_up()
            elif not isinstance(event, Publication):
                POISON.inc()
                logger.warning("skipped a malformed command")
            elif not self._take(event):
                await self._catch_up()

    def _take(self, publication: Publication) -> bool:
        """Carry out a command, unless that was done. False if others before it are missing."""
        here, there = self._position, publication.position
        if here is None or there.epoch != here.epoch:
            return False
        if there.offset <= here.offset:
            return True
        if publication.previous != here.offset:
            return False
        self._position = there
        self._read(publication.message)
        return True

    def _read(self, message: str, since: float = 0) -> None:
        try:
            command = Command.model_validate_json(message)
        except ValidationError:
            POISON.inc()
            logger.warning("skipped a malformed command")
            return
        if command.sent_at < since:
            return
        try:
            self._carry_out(command)
        except Exception:
            logger.exception("could not carry out a command")

    async def _catch_up(self) -> None:
        """Read what was missed. Tries until the broker answers."""
        while True:
            seen = self._position
            try:
                history = await self._backend.history(
                    CHANNEL, last=1000, after=[] if seen is None else [seen], seen=seen
                )
            except BrokerUnavailable:
                await asyncio.sleep(random.uniform(0.1, 1))  # noqa: S311
            else:
                break
        self._position = history.position
        since = self._started_at if seen is None else 0
        # Of a new epoch, this worker has carried out nothing.
        here = seen.offset if seen is not None and seen.epoch == history.position.epoch else -1
        for publication in history.publications:
            if publication.position.offset > here:
                self._read(publication.message, since)
        if seen is not None and not history.has_all_after(here):
            logger.warning("commands to disconnect or evict users may have been lost")
