"""A stream of RabbitMQ as a log."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import aiormq
import pytest
from aiormq.abc import AbstractChannel

from app.realtime.broker.log.base import (
    Draft,
    Entry,
    EntryRefused,
    LogConnection,
    LogUnavailable,
    OffsetLost,
    Start,
)
from app.realtime.broker.rabbitmq.log import StreamLog
from app.realtime.broker.rabbitmq.options import read_options
from tests.engine.broker.rabbitmq.conftest import LARGEST
from tests.support.broker.rabbitmq import RabbitmqServer
from tests.support.client import PATIENCE, until


def an_hour_ago() -> datetime:
    return datetime.now(UTC) - timedelta(hours=1)


@asynccontextmanager
async def connected(
    server: RabbitmqServer, stream: str, *, options: str = "", start: Start | None = None
) -> AsyncIterator[LogConnection]:
    """A connection that reads from a place, or from the beginning."""
    url = f"{server.url}?stream={stream}{options}"
    async with StreamLog(read_options(url, 3600)).connected() as connection:
        async with asyncio.timeout(PATIENCE):
            await connection.seek([an_hour_ago() if start is None else start])
        yield connection


async def append(connection: LogConnection, *payloads: bytes) -> None:
    results = await connection.append([Draft(0, payload) for payload in payloads])
    assert results == [None] * len(payloads)


async def read(connection: LogConnection, count: int) -> list[Entry]:
    """The next entries, exactly so many."""
    entries: list[Entry] = []
    async with asyncio.timeout(PATIENCE):
        while len(entries) < count:
            entries += await connection.read()
    assert len(entries) == count
    return entries


def payloads(entries: Sequence[Entry]) -> list[bytes]:
    return [entry.payload for entry in entries]


@asynccontextmanager
async def channel_of(server: RabbitmqServer) -> AsyncIterator[AbstractChannel]:
    async with aiormq.connect(server.url) as connection:
        yield await connection.channel()


async def test_what_is_appended_is_read_in_order(rabbitmq: RabbitmqServer, room: str) -> None:
    async with connected(rabbitmq, room) as connection:
        await append(connection, b"a", b"b", b"c" * 200_000, b"d")
        await append(connection, b"e")
        entries = await read(connection, 5)
        assert payloads(entries) == [b"a", b"b", b"c" * 200_000, b"d", b"e"]
        assert [entry.offset for entry in entries] == [0, 1, 1000, 2000, 3000]
        now = datetime.now(UTC).timestamp()
        assert all(now - 5 < entry.appended_at <= now for entry in entries)


async def test_reading_goes_on_with_any_entry(rabbitmq: RabbitmqServer, room: str) -> None:
    async with connected(rabbitmq, room) as connection:
        await append(connection, b"a", b"b")
        await append(connection, b"c")
        entries = await read(connection, 3)
    for number, entry in enumerate(entries):
        async with connected(rabbitmq, room, start=entry.offset) as connection:
            assert await read(connection, 3 - number) == entries[number:]
    async with connected(rabbitmq, room, start=entries[-1].offset) as connection:
        await append(connection, b"d")
        assert payloads(await read(connection, 2)) == [b"c", b"d"]


@pytest.mark.parametrize("offset", [2, 1000, 1001, 5_000, 10**12])
async def test_an_offset_beyond_the_end_is_lost(
    rabbitmq: RabbitmqServer, room: str, offset: int
) -> None:
    async with connected(rabbitmq, room) as connection:
        await append(connection, b"a", b"b")
    with pytest.raises(OffsetLost):
        async with connected(rabbitmq, room, start=offset):
            pass


async def test_nothing_is_missed_that_is_appended_after_seeking(
    rabbitmq: RabbitmqServer, room: str
) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=1)
    async with connected(rabbitmq, room, start=ahead) as first:
        for number in range(10):
            async with connected(rabbitmq, room, start=ahead) as second:
                await append(first, b"%d" % number)
                assert payloads(await read(second, 1)) == [b"%d" % number]


async def test_a_stream_that_was_deleted_is_noticed_and_made_anew(
    rabbitmq: RabbitmqServer, room: str
) -> None:
    async with connected(rabbitmq, room) as connection:
        await append(connection, b"a", b"b")
        await read(connection, 2)
        async with channel_of(rabbitmq) as channel:
            await channel.queue_delete(room)
        with pytest.raises(LogUnavailable, match="deleted"):
            await read(connection, 1)
        with pytest.raises(LogUnavailable, match="deleted"):
            await append(connection, b"c")
    with pytest.raises(OffsetLost):
        async with connected(rabbitmq, room, start=1):
            pass
    async with connected(rabbitmq, room) as connection:
        await append(connection, b"d")
        assert payloads(await read(connection, 1)) == [b"d"]


async def test_a_message_that_rabbitmq_does_not_take_is_refused_alone(
    rabbitmq: RabbitmqServer, room: str
) -> None:
    async with connected(rabbitmq, room) as connection:
        sizes = (1, LARGEST + 1, 2, LARGEST - 100, LARGEST * 5)
        results = await connection.append([Draft(0, b"x" * size) for size in sizes])
        assert [type(it) for it in results] == [
            type(None),
            EntryRefused,
            type(None),
            type(None),
            EntryRefused,
        ]
        assert "larger than configured max size" in str(results[1])
        assert [len(it) for it in payloads(await read(connection, 3))] == [1, 2, LARGEST - 100]


# --- Files of the stream ----------------------------------------------------------

SMALL = "&max_length_bytes=1310720"  # 20 files of 64 KiB


async def test_reading_goes_across_the_files_of_a_stream(
    rabbitmq: RabbitmqServer, room: str
) -> None:
    sent = [b"%d" % number + b"." * 10_000 for number in range(50)]
    async with connected(rabbitmq, room, options=SMALL) as connection:
        for payload in sent:
            await append(connection, payload)
        entries = await read(connection, 50)
        assert payloads(entries) == sent
    # RabbitMQ has taken some offsets for itself.
    assert entries[-1].offset > 50_000
    async with connected(rabbitmq, room, start=entries[20].offset) as connection:
        assert await read(connection, 30) == entries[20:]


async def test_what_a_full_stream_has_forgotten_is_lost(
    rabbitmq: RabbitmqServer, room: str
) -> None:
    async with connected(rabbitmq, room, options=SMALL) as connection:
        for _ in range(40):
            await append(connection, b"x" * 90_000)
    with pytest.raises(OffsetLost, match="no longer has offset 0"):
        async with connected(rabbitmq, room, start=0):
            pass
    async with connected(rabbitmq, room) as connection:
        first, *_ = await connection.read()
        assert first.offset > 0


# --- Streams that exist -----------------------------------------------------------


async def test_a_stream_that_exists_is_used_as_it_is(rabbitmq: RabbitmqServer, room: str) -> None:
    async with channel_of(rabbitmq) as channel:
        arguments = {"x-queue-type": "stream", "x-max-age": "1D"}
        await channel.queue_declare(room, durable=True, arguments={**arguments})
    async with connected(rabbitmq, room) as connection:
        await append(connection, b"a")
    async with connected(rabbitmq, room, options="&max_age=99999", start=0) as connection:
        assert payloads(await read(connection, 1)) == [b"a"]


async def test_workers_that_create_a_stream_at_once_share_it(
    rabbitmq: RabbitmqServer, room: str
) -> None:
    async def use(number: int) -> None:
        options = f"&max_age={number + 9999}"
        try:
            async with connected(rabbitmq, room, options=options) as connection:
                await append(connection, b"%d" % number)  # which a retry may repeat
                found = set[bytes]()
                while len(found) < 5:
                    found.update(payloads(await connection.read()))
        except LogUnavailable:  # RabbitMQ may need a moment until it can be read
            await use(number)

    async with asyncio.timeout(3 * PATIENCE), asyncio.TaskGroup() as tasks:
        for number in range(5):
            tasks.create_task(use(number))


# --- Ends -------------------------------------------------------------------------


async def test_a_silent_connection_ends_within_a_second(
    rabbitmq: RabbitmqServer, room: str
) -> None:
    before = asyncio.all_tasks()
    clock = asyncio.get_running_loop().time
    for error in (None, LookupError()):
        with suppress(LookupError):
            async with connected(rabbitmq, room) as connection:
                rabbitmq.pause()
                appending = asyncio.create_task(append(connection, b"x" * 30_000_000))
                await asyncio.sleep(0.1)
                ends_at = clock()
                if error is not None:
                    raise error
        with pytest.raises(LogUnavailable):
            await appending
        assert clock() - ends_at < 1
        await until(lambda: asyncio.all_tasks() <= before)
        rabbitmq.resume()
    rabbitmq.pause()
    with pytest.raises(TimeoutError):  # a handshake is given up, too
        async with asyncio.timeout(0.3), connected(rabbitmq, room):
            pass
    await until(lambda: asyncio.all_tasks() <= before)
