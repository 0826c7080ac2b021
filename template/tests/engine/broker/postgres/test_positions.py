"""What PostgreSQL remembers of channels, and how it is forgotten."""

import asyncio

import asyncpg
import pytest

from app.realtime.broker import Backend
from app.realtime.broker.postgres import statements
from app.realtime.broker.postgres.backend import PostgresBackend
from app.realtime.protocol import Position
from tests.engine.broker.contract import (
    connected,
    publications,
    publish,
    record,
    remembered,
    subscribe,
)
from tests.engine.broker.postgres.conftest import Tables

MOST = 10
"""Positions of channels without a history that may be remembered in these tests."""

HOUR = 3600 * 1_000_000
WEEK = 7 * 24 * HOUR


@pytest.fixture(autouse=True)
def no_sweeps_but_those_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sweep_nothing(_: PostgresBackend) -> None:
        """It is the tests' turn."""

    monkeypatch.setattr(PostgresBackend, "_sweep_once", sweep_nothing)
    monkeypatch.setattr(statements, "MAX_POSITIONS", MOST)
    monkeypatch.setattr(statements, "SWEEP_SECONDS", 600)


async def sweep(backend: Backend, tables: Tables) -> int:
    """Remove all that is too old. Returns in how many steps."""
    assert isinstance(backend, PostgresBackend)
    connection = await backend._connect()
    await tables.execute("UPDATE {schema}.server SET swept_at = 0")
    steps = 1
    while await backend._statements.sweep(connection):
        steps += 1
    await connection.close()
    return steps


async def age(tables: Tables, channel: str, by: int) -> None:
    """Have everything in a channel be published earlier, by so many microseconds."""
    number = await tables.execute(
        "UPDATE {schema}.channels SET last_offset = last_offset - $2, due = due - $2"
        " WHERE name = $1 RETURNING number",
        channel,
        by,
    )
    await tables.execute(
        'UPDATE {schema}.publications SET "offset" = "offset" - $2, previous = previous - $2'
        " WHERE channel = $1",
        number,
        by,
    )


async def channels(tables: Tables) -> set[str]:
    names = await tables.execute("SELECT array_agg(name) FROM {schema}.channels")
    assert isinstance(names, list | None)
    return set(names or ())


# --- History ------------------------------------------------------------------------


async def test_the_history_of_a_channel_is_bounded(tables: Tables) -> None:
    async with connected(tables.url, history_size=5) as backend:
        await subscribe(backend, "room")
        await asyncio.gather(*(publish(backend, "room", number) for number in range(20)))
        assert await tables.count("publications") == 5
        assert await tables.execute("SELECT count FROM {schema}.channels") == 5


async def test_what_is_too_old_is_removed_by_the_sweep(tables: Tables) -> None:
    async with connected(tables.url) as backend:
        await subscribe(backend, "old")
        await publish(backend, "old", 1, 2)
        await publish(backend, "new", 3)
        await age(tables, "old", 2 * HOUR)
        await publish(backend, "old", 4)
        assert await remembered(backend, "old") == ["4"]
        assert await tables.count("publications") == 4
        await sweep(backend, tables)
        assert await tables.count("publications") == 2
        assert await tables.count("channels", "count <> 1 OR is_empty") == 0
        await age(tables, "old", 2 * HOUR)
        await sweep(backend, tables)
        assert await tables.count("channels", "is_empty AND count = 0") == 1
        assert await channels(tables) == {"old", "new"}


async def test_what_is_too_old_is_removed_in_steps(tables: Tables) -> None:
    async with connected(tables.url, history_size=5_000) as backend:
        await subscribe(backend, "room")
        names = range(2_500)
        await asyncio.gather(*(publish(backend, "room", name) for name in names))
        await age(tables, "room", 2 * HOUR)
        assert await sweep(backend, tables) >= 3
        assert await tables.count("publications") == 0


async def test_an_id_that_is_too_old_can_be_published_again(tables: Tables) -> None:
    async with connected(tables.url) as backend:
        await subscribe(backend, "room")
        (old,) = await publish(backend, "room", 1)
        await age(tables, "room", 2 * HOUR)
        (new,) = await publish(backend, "room", 1)
        assert new.offset > old.offset
        assert await remembered(backend, "room") == ["1"]
        assert await tables.count("publications") == 1


async def test_workers_with_other_settings_read_what_theirs_allow(tables: Tables) -> None:
    async with (
        connected(tables.url, history_size=100) as more,
        connected(tables.url, history_size=5) as less,
    ):
        await asyncio.gather(subscribe(more, "room"), subscribe(less, "room"))
        at = await publish(more, "room", *range(20))
        assert len(await remembered(more, "room")) == 20
        assert await remembered(less, "room") == [str(number) for number in range(15, 20)]
        assert await remembered(less, "room", last=0, after=[at[10]]) == []
        page = await less.page("room", before=at[17].offset, limit=9)
        assert (len(page.publications), page.complete) == (2, True)
        await publish(less, "room", "last")
        assert len(await remembered(more, "room")) == 5


# --- Positions ----------------------------------------------------------------------


async def test_a_position_expires_a_week_after_the_last_publication(tables: Tables) -> None:
    async with connected(tables.url) as backend:
        await subscribe(backend, "room")
        await publish(backend, "room", 1)
        await publish(backend, "other", 1)
        await age(tables, "room", WEEK - HOUR)
        await sweep(backend, tables)
        assert await channels(tables) == {"room", "other"}
        await age(tables, "room", 2 * HOUR)
        await sweep(backend, tables)
        assert await channels(tables) == {"other"}


async def test_positions_without_a_history_are_bounded(tables: Tables) -> None:
    async with connected(tables.url) as backend:
        await subscribe(backend, "room")
        for number in range(30):
            await publish(backend, f"old {number:02}", 1)
        await sweep(backend, tables)
        assert len(await channels(tables)) == 30  # whose history is promised
        for number in range(30):
            await age(tables, f"old {number:02}", 2 * HOUR)
        await publish(backend, "old 00", 2)
        for number in range(5):
            await publish(backend, f"new {number}", 1)
        await sweep(backend, tables)
        kept = {"old 00", *(f"new {number}" for number in range(5))}
        assert await channels(tables) == kept | {f"old {number:02}" for number in range(20, 30)}
        assert await tables.count("publications") == 6


async def test_positions_are_bounded_where_nothing_is_remembered(tables: Tables) -> None:
    async with connected(tables.url, history_size=0) as backend:
        await subscribe(backend, "room")
        for number in range(15):
            await publish(backend, f"room {number:02}", 1)
        await publish(backend, "room 00", 2)  # used since
        await sweep(backend, tables)
        assert await channels(tables) == {"room 00", *(f"room {n:02}" for n in range(6, 15))}


async def forget(backend: Backend, tables: Tables, channel: str) -> None:
    """Have a channel be forgotten because there are too many."""
    await age(tables, channel, 2 * HOUR)
    for number in range(MOST):
        await publish(backend, f"other {number}", 1)
        await age(tables, f"other {number}", HOUR + HOUR // 2)
    await sweep(backend, tables)
    assert channel not in await channels(tables)


async def test_a_client_that_missed_what_is_forgotten_is_told(tables: Tables) -> None:
    async with connected(tables.url) as backend:
        await subscribe(backend, "room")
        before = (await backend.history("room", last=0)).position
        seen, _ = await publish(backend, "room", "seen", "missed")
        await forget(backend, tables, "room")
        await publish(backend, "room", "new")
        for position in (before, seen):
            history = await backend.history("room", last=0, after=[position])
            assert history.position.epoch != position.epoch
            assert not history.publications


async def test_channels_that_stay_keep_their_epoch(tables: Tables) -> None:
    async with connected(tables.url) as backend:
        await subscribe(backend, "room")
        (kept,) = await publish(backend, "kept", 1)
        (first,) = await publish(backend, "first", 1)
        await forget(backend, tables, "first")
        (again,) = await publish(backend, "first", 2)
        assert again.epoch != first.epoch
        (still,) = await publish(backend, "kept", 2)
        assert still.epoch == kept.epoch


async def test_a_channel_whose_position_expired_goes_on_for_a_worker_that_listened(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "PERIOD_SECONDS", 1)
    async with connected(tables.url, history_seconds=1) as backend:
        await subscribe(backend, "room")
        (old,) = await publish(backend, "room", "old")
        await publications(backend, 1)
        await asyncio.sleep(2.1)
        await sweep(backend, tables)
        await sweep(backend, tables)
        assert await channels(tables) == set()
        # A worker that has seen the old position is still there; one that has not begins anew.
        assert (await backend.history("room", last=9, seen=old)).position == old
        unknown = (await backend.history("room", last=9)).position
        assert (unknown.epoch != old.epoch, unknown.offset) == (True, 0)
        new = await backend.publish("room", record("new"), old)
        (event,) = await publications(backend, 1)
        assert event.position == new
        assert event.position.epoch == old.epoch
        assert event.previous == old.offset < event.position.offset


async def test_offsets_grow_when_the_clock_is_behind(tables: Tables) -> None:
    async with connected(tables.url) as backend:
        await subscribe(backend, "room")
        (first,) = await publish(backend, "room", 1)
        await age(tables, "room", -HOUR)
        second, third = await publish(backend, "room", 2, 3)
        assert second.offset == first.offset + HOUR + 1
        assert third.offset == first.offset + HOUR + 2


# --- What a worker has seen -----------------------------------------------------------


@pytest.mark.parametrize("is_publish", [False, True])
async def test_a_worker_that_has_seen_more_than_is_known_begins_an_epoch(
    tables: Tables, *, is_publish: bool
) -> None:
    async with connected(tables.url) as backend:
        await subscribe(backend, "room")
        (known,) = await publish(backend, "room", "known")
        for seen in (known, Position(epoch="other", offset=known.offset + 9)):
            assert (await backend.history("room", last=9, seen=seen)).position == known
        beyond = Position(epoch=known.epoch, offset=known.offset + 1)
        if is_publish:
            new = await backend.publish("room", record("known"), beyond)
            assert new is not None
            assert new.epoch != known.epoch
            assert await remembered(backend, "room") == ["known"]
        history = await backend.history("room", last=9, seen=beyond)
        assert history.position.epoch != known.epoch
        assert len(history.publications) == is_publish
        # All workers know it by now.
        again = await backend.history("room", last=9, seen=beyond)
        assert again.position == history.position


async def test_a_position_that_was_lost_and_did_not_expire_begins_an_epoch(tables: Tables) -> None:
    async with connected(tables.url) as backend:
        await subscribe(backend, "room")
        (lost,) = await publish(backend, "room", "lost")
        await tables.execute("DELETE FROM {schema}.publications")
        await tables.execute("DELETE FROM {schema}.channels")
        assert (await backend.history("room", last=9, seen=lost)).position.epoch != lost.epoch


# --- What else is removed -------------------------------------------------------------


async def test_large_messages_and_canaries_are_removed(tables: Tables) -> None:
    async with connected(tables.url) as backend:
        await subscribe(backend, "room")
        await backend.publish("room", "x" * 9_000)
        await tables.execute("INSERT INTO {schema}.canaries VALUES ('a worker that is gone', 0)")
        await sweep(backend, tables)
        assert await tables.count("large") == 1
        assert await tables.count("canaries") == 1
        await tables.execute("UPDATE {schema}.large SET stored_at = stored_at - 61000000")
        await sweep(backend, tables)
        assert await tables.count("large") == 0


async def test_the_sweep_waits_for_nobody(tables: Tables) -> None:
    async with connected(tables.url) as backend:
        await subscribe(backend, "room")
        for channel in ("in use", "old"):
            await publish(backend, channel, 1)
            await age(tables, channel, 2 * HOUR)
        connection = await asyncpg.connect(tables.server.cluster.url(database="app"))
        try:
            async with connection.transaction():
                await connection.execute(
                    f"SELECT FROM {tables.schema}.channels WHERE name = 'in use' FOR UPDATE"
                )
                await sweep(backend, tables)
                assert await tables.count("publications") == 1
        finally:
            await connection.close()
        await sweep(backend, tables)
        assert await tables.count("publications") == 0


async def test_one_worker_sweeps_at_a_time(tables: Tables) -> None:
    async with connected(tables.url) as backend:
        await subscribe(backend, "room")
        await publish(backend, "old", 1)
        await age(tables, "old", 2 * HOUR)
        connection = await asyncpg.connect(tables.server.cluster.url(database="app"))
        try:
            async with connection.transaction():
                lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
                await connection.execute(lock, f'"{tables.schema}" sweep')
                assert await sweep(backend, tables) == 1
                assert await tables.count("publications") == 1
        finally:
            await connection.close()
