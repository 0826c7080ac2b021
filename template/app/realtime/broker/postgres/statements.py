"""The statements that are sent to PostgreSQL: calls of the functions in the `.sql` files."""

import hashlib
import random
import re
import secrets
from collections.abc import Sequence
from itertools import count
from math import ceil
from typing import NamedTuple

import asyncpg

from app.realtime.broker.base import Publication
from app.realtime.broker.postgres.notifications import MAX_OFFSET
from app.realtime.broker.postgres.pipeline import Row
from app.realtime.protocol import Position

MICROSECONDS = 1_000_000

PERIOD_SECONDS = 7 * 24 * 3600
"""All channels that begin in the same period share an epoch.

PostgreSQL remembers where a channel stands for as long, unless its history lasts longer.
"""

MAX_POSITIONS = 100_000
"""Channels without a history of which PostgreSQL remembers where they stand."""

SWEEP_SECONDS = 10
"""How often somebody removes what is too old."""

LARGE_SECONDS = 60
"""How long a large message can be read by listeners."""


class Published(NamedTuple):
    """The answer to a record: its position."""

    epoch: str
    offset: int
    is_taken: bool
    """Whether the channel remembers other content under that id."""


class Canary(NamedTuple):
    """The answer to a canary."""

    epoch: str
    """Of all channels."""
    wal: int | None
    """How much write-ahead log there is, in bytes, if PostgreSQL tells."""
    is_sweep_due: bool
    queue: float
    """How full the queue of NOTIFY is, from 0 to 1."""


class Entry(NamedTuple):
    """A publication, or where the channel stands, which has no message."""

    epoch: str
    offset: int
    previous: int | None
    message: bytes | None


class Statements:
    """Calls the functions in a schema."""

    def __init__(self, schema: str, history_size: int, history_seconds: float) -> None:
        history = ceil(history_seconds) * MICROSECONDS
        period = PERIOD_SECONDS * MICROSECONDS
        lifetime = max(period, history) + MICROSECONDS
        sweep_after = SWEEP_SECONDS * MICROSECONDS
        self._schema = schema
        self._limits = (history_size, history, period, lifetime)
        self._sweeping = (history, period, lifetime, sweep_after, LARGE_SECONDS * MICROSECONDS)
        self._sweep_after = sweep_after
        # Each statement carries a unique epoch, in case that one has to begin.
        self._worker = secrets.token_hex(8)
        self._statements = count()
        self.seen: Canary | None = None
        """The last canary. PostgreSQL has lost data if there is less write-ahead log now."""
        # All names are quoted, and `schema` has no quotes.
        self._publish = f"""SELECT * FROM "{schema}".publish(
            $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"""  # noqa: S608
        # In the order of the channels' names, as everywhere where several may be locked.
        self._read = f"""SELECT r.number, a.* FROM "{schema}".server_epoch($1, $2, $3) AS e, (
                SELECT * FROM unnest($8::text[], $9::text[], $10::bigint[], $11::integer[],
                    $12::bigint[], $13::text[]) WITH ORDINALITY
                AS t(name, seen_epoch, seen_offset, last, before, wanted, number)
                ORDER BY name COLLATE "C"
            ) AS r, "{schema}".read(e.epoch, e.generation, $1 || '.' || r.number, $4, $5, $6, $7,
                r.name, r.seen_epoch, r.seen_offset, r.last, r.before, r.wanted) AS a"""  # noqa: S608
        self._large = f'SELECT number, message FROM "{schema}".large WHERE number = ANY ($1)'  # noqa: S608
        self._sweep = f'SELECT "{schema}".sweep($1, $2, $3, $4, $5, $6)'

    async def publish(
        self, connection: asyncpg.Connection, rows: Sequence[Row]
    ) -> Sequence[Published | Canary]:
        """Publish (channel, id, digest, message, seen epoch, seen offset) in one transaction.

        A plain string has no id, and a canary neither id nor message. The answer to a plain
        string means nothing.
        """
        columns = [list(column) for column in zip(*rows, strict=True)]
        found = await connection.fetch(
            self._publish,
            *self._server(),
            *self._limits,
            # One of many workers is the first to find that it is time.
            round(self._sweep_after * random.uniform(1, 2)),  # noqa: S311
            *columns,
        )
        answers: list[Published | Canary] = [Published("", 0, is_taken=False)] * len(rows)
        for number, epoch, offset, flag, queue in found:
            if rows[number - 1][3] is None:
                answers[number - 1] = Canary(epoch, offset, flag, queue)
            elif rows[number - 1][1] is not None:
                answers[number - 1] = Published(epoch, offset, flag)
        return answers

    async def read(
        self, connection: asyncpg.Connection, rows: Sequence[Row]
    ) -> Sequence[list[Entry]]:
        """Read (channel, seen epoch, seen offset, last, before, wanted).

        Each answer begins with where the channel stands. Then come publications, newest first.
        """
        columns = [list(column) for column in zip(*rows, strict=True)]
        found = await connection.fetch(self._read, *self._server(), *self._limits, *columns)
        answers: list[list[Entry]] = [[] for _ in rows]
        for number, *entry in found:
            answers[number - 1].append(Entry(*entry))
        return answers

    async def large(
        self, connection: asyncpg.Connection, rows: Sequence[Row]
    ) -> Sequence[bytes | None]:
        """Read large messages by their number."""
        numbers = [number for (number,) in rows]
        messages = dict(await connection.fetch(self._large, numbers))
        return [messages.get(number) for number in numbers]

    async def sweep(self, connection: asyncpg.Connection) -> bool:
        """Remove a bounded number of what is too old. Returns whether there may be more."""
        is_more: bool = await connection.fetchval(self._sweep, *self._sweeping, MAX_POSITIONS)
        return is_more

    def _server(self) -> tuple[str, str, int | None]:
        """A new epoch, and what this worker knows of the current one."""
        fresh = f"{self._worker}-{next(self._statements):x}"
        return (fresh, self.seen.epoch, self.seen.wal) if self.seen else (fresh, "", None)


def digest_of(id: str) -> bytes:  # noqa: A002
    """What is stored of an id, so that an index has keys of one size."""
    return hashlib.blake2b(id.encode(), digest_size=16).digest()


def pair(seen: Position | None) -> tuple[str, int]:
    return ("", 0) if seen is None else (seen.epoch, seen.offset)


def wanted(after: Sequence[Position]) -> str:
    """Positions as `read.sql` takes them, without those that can't be ours.

    They come from clients.
    """
    return " ".join(
        f"{epoch} {offset}"
        for epoch, offset in {(position.epoch, position.offset) for position in after}
        if offset <= MAX_OFFSET and re.fullmatch(r"[0-9a-f.-]{1,100}", epoch)
    )


def read(channel: str, found: Sequence[Entry]) -> tuple[Position, list[Publication]]:
    """Where the channel stands, and publications, oldest first."""
    here, *entries = found
    publications = [
        Publication(
            channel,
            (entry.message or b"").decode(errors="replace"),
            Position(epoch=entry.epoch, offset=entry.offset),
            entry.previous or 0,
        )
        for entry in reversed(entries)
    ]
    return Position(epoch=here.epoch, offset=here.offset), publications
