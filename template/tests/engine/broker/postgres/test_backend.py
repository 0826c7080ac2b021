"""The PostgreSQL backend alone: order, large messages, locks and malformed notifications."""

import asyncio
import time
from contextlib import suppress

import asyncpg
import pytest
from broadcaster import Event

from app.realtime.broker import BrokerUnavailable, Publication, Record, Resubscribed, base
from app.realtime.broker.postgres import notifications, statements, subscriptions
from app.realtime.broker.postgres.backend import PostgresBackend
from app.realtime.metrics import POISON
from app.realtime.protocol import Position
from tests.engine.broker.contract import (
    connected,
    listening,
    messages,
    publications,
    publish,
    received,
    record,
    remembered,
    subscribe,
)
from tests.engine.broker.postgres.conftest import Tables
from tests.support.client import PATIENCE, until

MAX_OFFSET = 2**63 - 1


# --- Batches ----------------------------------------------------------------------


async def test_workers_that_use_the_same_channels_never_wait_in_a_circle(tables: Tables) -> None:
    names = [f"room {number:02}" for number in range(40)]
    async with connected(tables.url) as one, connected(tables.url) as other:
        await asyncio.gather(*(subscribe(backend, "room") for backend in (one, other)))
        for turn in range(15):  # in a new channel first
            answers = [
                backend.submit(f"{name}.{turn // 5}", record(f"{turn} {number}"))
                for number, (backend, order) in enumerate(((one, names), (other, names[::-1])))
                for name in order
            ]
            await asyncio.gather(*(it for it in answers if isinstance(it, asyncio.Future)))
        for turn in range(3):
            assert len(await history_of(one, f"room 00.{turn}")) == 10
    assert await deadlocks(tables) == 0


async def history_of(backend: base.Backend, channel: str) -> list[str]:
    await backend.subscribe(channel)
    return await remembered(backend, channel)


async def deadlocks(tables: Tables) -> object:
    return await tables.execute(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )


async def test_equal_strings_that_are_published_at_once_are_all_delivered(tables: Tables) -> None:
    async with connected(tables.url) as backend:
        await subscribe(backend, "room")
        await asyncio.gather(*(backend.publish("room", "typing") for _ in range(5)))
        assert messages(await received(backend, 5)) == ["typing"] * 5


async def test_an_id_is_forgotten_within_a_batch_as_between_batches(tables: Tables) -> None:
    async with connected(tables.url, history_size=2) as backend:
        await subscribe(backend, "room")
        names = ["1", "2", "1", "3", "1", "4", "1"]
        await asyncio.gather(*(backend.publish("room", record(name)) for name in names))
        assert messages(await publications(backend, 5)) == ["1", "2", "3", "1", "4"]
        assert await remembered(backend, "room") == ["1", "4"]


async def test_a_lock_that_is_held_refuses_the_publish_and_keeps_no_connections(
    tables: Tables,
) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE "
    waiting += f"'%{tables.schema}%publish%'"
    async with connected(tables.url) as backend:
        await until(lambda: backend.alive)
        await subscribe(backend, "room")
        await publish(backend, "room", "before")
        connection = await asyncpg.connect(tables.server.cluster.url(database="app"))
        try:
            async with connection.transaction():
                await connection.execute(f"LOCK TABLE {tables.schema}.channels")
                with pytest.raises(BrokerUnavailable):
                    await backend.publish("room", record("meanwhile"))
                async with asyncio.timeout(3):
                    while await tables.execute(waiting):
                        await asyncio.sleep(0.05)
        finally:
            await connection.close()
        async with asyncio.timeout(PATIENCE):
            while "after" not in await remembered(backend, "room"):
                with suppress(BrokerUnavailable):
                    await publish(backend, "room", "after")


# --- Large messages -----------------------------------------------------------------


@pytest.mark.parametrize("text", ["a\0b", "x" * 7_900, "ä" * 4_000, "z" * 1_000_000], ids=len)
async def test_what_does_not_fit_into_a_notification_arrives(tables: Tables, text: str) -> None:
    async with connected(tables.url) as backend:
        await subscribe(backend, "room")
        position = await backend.publish("room", Record("id", "content", text))
        assert await backend.publish("room", text) is None
        await publish(backend, "room", "after")
        first, second, last = await received(backend, 3)
        assert first.message == second.message == text
        assert isinstance(first, Publication)
        assert isinstance(last, Publication)
        assert first.position == position
        assert last.previous == first.position.offset
        history = await backend.history("room", last=9)
        assert history.publications[0].message == text


async def test_a_large_message_is_delivered_where_nothing_is_remembered(tables: Tables) -> None:
    async with connected(tables.url, history_size=0) as backend:
        await subscribe(backend, "room")
        await backend.publish("room", Record("id", "content", "x" * 9_000))
        (large,) = await publications(backend, 1)
        assert len(large.message) == 9_000


async def test_a_large_message_that_can_not_be_read_holds_up_its_channel_alone(
    tables: Tables,
) -> None:
    async with (
        connected(tables.url) as backend,
        listening(backend, "large") as large,
        listening(backend, "small") as small,
    ):
        # It can be written, and not be read.
        await tables.execute("REVOKE SELECT ON {schema}.large FROM app")
        await tables.execute("GRANT SELECT (number) ON {schema}.large TO app")
        await publish(backend, "large", "before")
        await backend.publish("large", Record("id", "content", "x" * 9_000))
        await publish(backend, "large", "after")
        await publish(backend, "small", "small")
        await until(lambda: bool(small) and len(large) == 3)
        before, instead, after = large
        assert messages([before, after]) == ["before", "after"]
        assert isinstance(instead, Resubscribed)
        history = await backend.history("large", last=9)
        assert [len(it.message) for it in history.publications] == [14, 9_000, 13]


async def test_other_channels_do_not_wait_for_a_large_message(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        connected(tables.url) as backend,
        listening(backend, "large") as large,
        listening(backend, "small") as small,
    ):
        assert isinstance(backend, PostgresBackend)
        message = asyncio.get_running_loop().create_future()
        monkeypatch.setattr(backend._large, "submit", lambda *_: message)
        await backend.publish("large", "x" * 9_000)
        await publish(backend, "large", "after")
        await publish(backend, "small", 1, 2, 3)
        await until(lambda: len(small) == 3)
        assert not large
        message.set_result(b"which took long")
        await until(lambda: len(large) == 2)
        assert messages(large) == ["which took long", "after"]


async def test_what_waits_for_a_large_message_is_bounded(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "MAX_HELD", 10)
    async with connected(tables.url) as backend, listening(backend, "room") as heard:
        assert isinstance(backend, PostgresBackend)
        never = asyncio.get_running_loop().create_future()
        monkeypatch.setattr(backend._large, "submit", lambda *_: never)
        await backend.publish("room", "x" * 9_000)
        for number in range(15):
            await backend.publish("room", f"string {number}")
        await until(lambda: len(heard) == 6)
        assert isinstance(heard[0], Resubscribed)
        assert messages(heard[1:]) == [f"string {number}" for number in range(10, 15)]
        assert never.cancelled()


# --- Malformed notifications --------------------------------------------------------


@pytest.mark.parametrize(
    "poison",
    [
        b"",
        b"\xff\x00",
        b"c",
        b"x1 text",
        b"p",
        b"p1 2",
        b"pepoch 1 0",
        b"p 2 1 text",
        b"pepoch one 0 text",
        b"pepoch 1 1 text",
        b"pepoch -1 -2 text",
        b"pepoch %d 1 text" % (MAX_OFFSET + 1),
        b"Pepoch 2 1 text",
        b"Pepoch 2 1 ",
        b"S1 text",
        b"s",
    ],
    ids=repr,
)
async def test_a_malformed_notification_is_counted_and_skipped(
    tables: Tables, poison: bytes
) -> None:
    async with connected(tables.url) as backend:
        await subscribe(backend, "room")
        before = POISON._value.get()
        text = poison.decode(errors="replace").replace("\0", "")
        await tables.execute("SELECT pg_notify($1, $2)", tables.schema, f"room\n{text}")
        await publish(backend, "room", "after")
        assert messages(await publications(backend, 1)) == ["after"]
        assert POISON._value.get() == before + 1


@pytest.mark.parametrize("payload", ["", "room", "\n", "other\np", "\nc", "room\0"[:4]])
async def test_a_notification_of_nothing_that_is_subscribed_is_skipped(
    tables: Tables, payload: str
) -> None:
    async with connected(tables.url) as backend:
        await subscribe(backend, "another room")
        await tables.execute("SELECT pg_notify($1, $2)", tables.schema, payload)
        await publish(backend, "another room", "after")
        assert messages(await publications(backend, 1)) == ["after"]


async def test_a_reference_to_a_message_that_is_not_there_has_history_read(tables: Tables) -> None:
    async with connected(tables.url) as backend:
        await subscribe(backend, "room")
        await tables.execute("SELECT pg_notify($1, 'room' || E'\\nS1 99')", tables.schema)
        (event,) = await received(backend, 1)
        assert isinstance(event, Resubscribed)


@pytest.mark.parametrize("channel", ["a\nb", "a\0b", "ä" * 501])
async def test_a_channel_that_can_not_be_named_is_refused(tables: Tables, channel: str) -> None:
    async with connected(tables.url) as backend:
        with pytest.raises(ValueError, match="a channel has"):
            await backend.publish(channel, "text")


async def test_positions_that_clients_make_up_disturb_nobody(tables: Tables) -> None:
    async with connected(tables.url) as backend:
        await subscribe(backend, "room")
        (at, _) = await publish(backend, "room", 1, 2)
        made_up = [
            Position(epoch=epoch, offset=offset)
            for epoch in ("a b", "\0", "ä", "", at.epoch, "x" * 9_999)
            for offset in (MAX_OFFSET, MAX_OFFSET + 1, 10**30)
        ]
        assert await remembered(backend, "room", last=0, after=made_up) == []
        assert await remembered(backend, "room", last=0, after=[*made_up, at]) == ["2"]
        for before in (0, MAX_OFFSET, MAX_OFFSET + 1, 10**30):
            page = await backend.page("room", before=before, limit=9)
            assert len(page.publications) == (2 if before else 0)


# --- Subscribing --------------------------------------------------------------------


async def test_of_several_subscriptions_of_a_channel_the_last_one_counts(tables: Tables) -> None:
    async with connected(tables.url) as backend:
        await subscribe(backend, "another")
        assert isinstance(backend, PostgresBackend)
        tables.server.pause()
        with suppress(BrokerUnavailable):
            await backend.publish("room", record("which starts a silence"))
        await backend.subscribe("room")
        first = backend._subscriptions.confirmed("room")
        await asyncio.sleep(0.05)  # the server is asked
        await backend.unsubscribe("room")
        await backend.subscribe("room")
        tables.server.resume()
        await backend._subscriptions.confirmed("room").wait()
        assert not first.is_set()


async def test_what_was_published_before_a_subscription_is_not_delivered(tables: Tables) -> None:
    async with connected(tables.url) as backend:
        await subscribe(backend, "another")
        assert isinstance(backend, PostgresBackend)
        heard: list[Event] = []
        await backend.listen("room", heard.append)
        # It was published before, and comes late.
        backend._subscriptions._receive(None, 0, "", "room\ns1 early")
        await backend.history("room", last=0)
        backend._subscriptions._receive(None, 0, "", "room\ns2 in time")
        assert messages(heard) == ["in time"]


async def test_subscribing_and_reading_store_nothing(tables: Tables) -> None:
    async with connected(tables.url) as backend:
        for number in range(20):
            await subscribe(backend, f"room {number}")
            await backend.history(f"room {number}", last=50)
            await backend.page(f"room {number}", before=None, limit=50)
        stored = {
            table: await tables.count(table)
            for table in ("channels", "publications", "large", "canaries", "server")
        }
        assert stored == {
            "channels": 0,
            "publications": 0,
            "large": 0,
            "canaries": 1,
            "server": 1,
        }


async def test_5000_channels_are_subscribed_in_an_instant(tables: Tables) -> None:
    async with connected(tables.url) as backend:
        await subscribe(backend, "room")
        started_at = time.perf_counter()
        for number in range(5_000):
            await backend.subscribe(f"room {number}")
        await backend.history("room 4999", last=0)
        for number in range(5_000):
            await backend.unsubscribe(f"room {number}")
        assert time.perf_counter() - started_at < 2


async def test_workers_remove_what_is_too_old_by_themselves(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "SWEEP_SECONDS", 0)
    monkeypatch.setattr(subscriptions, "CANARY_INTERVAL", 0.1)
    async with (
        connected(tables.url, history_seconds=1) as one,
        connected(tables.url, history_seconds=1) as other,
    ):
        await asyncio.gather(subscribe(one, "room"), subscribe(other, "room"))
        await publish(one, "room", 1)
        await publish(other, "another", 1)
        assert await tables.count("publications") == 2
        async with asyncio.timeout(PATIENCE):
            while await tables.count("publications"):
                await asyncio.sleep(0.05)
        assert await tables.count("channels", "is_empty AND count = 0") == 2
