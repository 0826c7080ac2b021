"""Messages between any number of processes, through Redis publish/subscribe.

Guarantees: the records of a channel reach every subscribed worker in order and once. One
script gives a record its offset, appends it to the channel's history and publishes it. So
everything that a subscriber receives is in the history, and what a worker missed during
an outage can be read from there. After an outage the backend returns `Resubscribed` for
every channel.

An offset is the time of its publication in microseconds, or one more than the one before
it if the clock is behind. So a channel that was forgotten never gives an offset twice.

Reading a channel stores nothing. Where a channel stands is remembered for a week after its
last publication: 340 bytes of Redis' memory for a room with a name of 20 characters, as
measured. Of channels whose history has expired, `MAX_POSITIONS` are remembered, which is
34 MB; those used longest ago are forgotten first.

All channels that begin in the same week share an epoch, and keep it for as long as Redis
knows their position. When a position of this epoch is forgotten before the week is over,
channels that begin later have another epoch. So no client takes what is forgotten for
received. The shared epoch also changes when Redis restarts without an append-only file and
when a replica takes over. A channel gets an epoch of its own when a worker has seen more
of it than Redis remembers.

In a Redis Cluster all of this holds for each of 1,024 buckets of channels (`names.py`), of
which each remembers `MAX_POSITIONS_OF_BUCKET` positions: 340 MB at most, over all masters.
Its masters are used like single servers (`cluster.py`). A failover, of a cluster or by
Sentinels, begins a new epoch in all channels of that master, because the replica may lack
what was acknowledged last.

A worker has three connections to every master. Redis must not evict keys
(`maxmemory-policy noeviction`, its default). Redis 6.2 or later is needed, and 7 for a
cluster. docs/broker/redis.md tells the operator more.
"""

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import count
from math import ceil
from typing import Any

from app.realtime.broker.base import (
    PUBLISH_DEADLINE,
    Backend,
    History,
    IdTaken,
    Page,
    Publication,
    Record,
)
from app.realtime.broker.redis.errors import Outage
from app.realtime.broker.redis.names import PLAIN, POSITION_SECONDS, SHARDED
from app.realtime.broker.redis.node import Node, Place, Scripts
from app.realtime.broker.redis.pipeline import Argument, Script
from app.realtime.broker.redis.servers import SCHEMES, Servers, open_servers
from app.realtime.protocol import Position

MAX_POSITIONS = 100_000
"""Channels without a history of which a Redis remembers where they stand."""

MAX_POSITIONS_OF_BUCKET = 1000
"""The same, for each of the 1024 buckets of a Redis Cluster."""


class RedisBackend(Backend):
    schemes = SCHEMES

    def __init__(
        self, url: str, history_size: int, history_seconds: float, history_bytes: int = 0
    ) -> None:
        super().__init__(url, history_size, history_seconds, history_bytes)
        self._scripts = Scripts.load()
        self._servers: Servers = open_servers(url, self._scripts, self._deliver)
        # Each command carries a unique epoch, in case that one has to begin.
        self._worker = secrets.token_hex(8)
        self._commands = count()
        self._running = AsyncExitStack()

    @property
    def alive(self) -> bool:
        return self._servers.alive

    async def connect(self) -> None:
        """Start to connect. An unreachable server is no error: it may come back."""
        await self._running.enter_async_context(self._servers.running())

    async def disconnect(self) -> None:
        await self._running.aclose()

    async def _open(self, channel: str) -> None:
        await self._servers.add(channel)

    async def _close(self, channel: str) -> None:
        await self._servers.remove(channel)

    def submit(
        self, channel: str, message: str | Record, seen: Position | None = None
    ) -> asyncio.Future[Position | None]:
        place = self._servers.place(channel)
        place.node.outage.check()
        publish = (PLAIN if place.slot is None else SHARDED).publish
        name = place.prefix + channel
        if isinstance(message, str):
            command: list[Argument] = [publish, name, f"   {message}".encode()]
        else:
            payload = message.message.encode()
            arguments = (publish, name, message.id, message.digest, payload)
            command = self._command(self._scripts.publish, place, channel, seen, *arguments)
        answer = place.node.writes.submit(*command, slot=place.slot)
        taken: asyncio.Future[Position | None] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(partial(taken_by, place.node, message, taken))
        return taken

    async def history(
        self,
        channel: str,
        *,
        last: int,
        after: Sequence[Position] = (),
        seen: Position | None = None,
    ) -> History:
        wanted = {(position.epoch, position.offset) for position in after}
        arguments = [argument for position in wanted for argument in position]
        confirmed = self._servers.confirmed(channel)
        place = self._servers.place(channel)
        if not confirmed.is_set():
            place.node.outage.check()
        try:
            async with asyncio.timeout(PUBLISH_DEADLINE):
                await confirmed.wait()
                place = self._servers.place(channel)  # which may have moved
                position, publications = await self._read(
                    place, self._scripts.history, channel, seen, last, *arguments
                )
        except Outage as error:
            raise place.node.unavailable("answer", error) from error
        place.node.outage.answered()
        return History(position, publications)

    async def page(self, channel: str, *, before: int | None, limit: int) -> Page:
        place = self._servers.place(channel)
        place.node.outage.check()
        bound = "" if before is None else str(before)
        try:
            async with asyncio.timeout(PUBLISH_DEADLINE):
                position, publications = await self._read(
                    place, self._scripts.page, channel, None, bound, limit + 1
                )
        except Outage as error:
            raise place.node.unavailable("answer", error) from error
        place.node.outage.answered()
        return Page(position.epoch, publications[-limit:], complete=len(publications) <= limit)

    async def _read(
        self,
        place: Place,
        script: Script,
        channel: str,
        seen: Position | None,
        *arguments: Argument,
    ) -> tuple[Position, list[Publication]]:
        command = self._command(script, place, channel, seen, *arguments)
        return read(channel, await place.node.reads.submit(*command, slot=place.slot))

    def _command(
        self,
        script: Script,
        place: Place,
        channel: str,
        seen: Position | None,
        *arguments: Argument,
    ) -> list[Argument]:
        """The command that runs a script on the keys of a channel."""
        prefix = place.prefix
        return [
            "EVALSHA",
            script.digest,
            5,
            f"{prefix}epoch",
            f"{prefix}position:{channel}",
            f"{prefix}history:{channel}",
            f"{prefix}ids:{channel}",
            f"{prefix}positions",
            f"{self._worker}-{next(self._commands):x}",
            POSITION_SECONDS,
            self.history_size,
            ceil(self.history_seconds),
            seen.epoch if seen is not None else "",
            seen.offset if seen is not None else 0,
            MAX_POSITIONS if place.slot is None else MAX_POSITIONS_OF_BUCKET,
            *arguments,
        ]


def taken_by(
    node: Node,
    message: str | Record,
    taken: asyncio.Future[Position | None],
    answer: asyncio.Future[Any],
) -> None:
    """Pass on the answer of Redis to whoever waits for `taken`."""
    position: Position | None = None
    error = answer.exception()
    if error is not None:
        error = node.unavailable("take the message", error)
    else:
        node.outage.answered()
        if isinstance(message, Record):
            epoch, offset, is_other = answer.result()
            position = Position(epoch=epoch.decode(), offset=int(offset))
            if is_other:
                error = IdTaken(message.id)
    if taken.cancelled():
        return
    if error is None:
        taken.set_result(position)
    else:
        taken.set_exception(error)


def read(channel: str, answer: Sequence[Any]) -> tuple[Position, list[Publication]]:
    """The answer of a script: where the channel stands, and publications, oldest first."""
    epoch = answer[0].decode()
    publications = [
        Publication(
            channel,
            message.decode(errors="replace"),
            Position(epoch=epoch, offset=int(offset)),
            int(previous),
        )
        for offset, previous, message in zip(answer[2::3], answer[3::3], answer[4::3], strict=True)
    ]
    return Position(epoch=epoch, offset=int(answer[1])), publications[::-1]
