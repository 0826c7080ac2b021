"""When data was lost, another epoch begins; when it was not, none does."""

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from app.realtime.broker import Backend, Resubscribed
from app.realtime.broker.postgres import subscriptions
from app.realtime.broker.postgres.backend import PostgresBackend
from app.realtime.protocol import Position
from tests.engine.broker.contract import (
    connected,
    messages,
    publications,
    publish,
    received,
    remembered,
    subscribe,
)
from tests.engine.broker.postgres.conftest import Tables
from tests.support.broker.postgres import PostgresServer
from tests.support.client import until
from tests.support.postgresql import binary


async def returned(backend: Backend) -> None:
    """Wait until a backend hears again after an outage of its server."""
    await until(lambda: backend.alive, patience=20)


async def canary(backend: Backend) -> None:
    """Wait for a canary, with which a worker learns how much write-ahead log there is."""
    assert isinstance(backend, PostgresBackend)
    before = backend._statements.seen
    await until(lambda: backend._statements.seen is not before)


@pytest.fixture(autouse=True)
def quick_reconnection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "BACKOFF_CAP", 0.1)
    monkeypatch.setattr(subscriptions, "CANARY_INTERVAL", 0.2)


async def test_a_restart_without_a_loss_keeps_the_epoch(tables: Tables) -> None:
    async with connected(tables.url) as backend:
        await subscribe(backend, "room")
        await publish(backend, "room", 1)
        (before,) = await publications(backend, 1)
        tables.server.kill()
        await until(lambda: not backend.alive)
        await tables.server.start()
        await returned(backend)
        assert isinstance((await received(backend, 1))[0], Resubscribed)
        (after,) = await publish(backend, "room", 2)
        assert after.epoch == before.position.epoch
        assert await remembered(backend, "room") == ["1", "2"]


async def test_an_older_copy_of_the_data_begins_an_epoch(tmp_path: Path) -> None:
    async with PostgresServer(tmp_path).running() as server, connected(server.url) as backend:
        await subscribe(backend, "room")
        await publish(backend, "room", "in the copy")
        server.kill()
        copy = server.cluster.folder / "copy"
        shutil.copytree(server.cluster.data, copy)
        give_away(copy, server.cluster.data)
        await server.start()
        await returned(backend)
        before, _ = await publish(backend, "room", "seen", "lost")
        await canary(backend)
        server.kill()
        shutil.rmtree(server.cluster.data)
        copy.rename(server.cluster.data)
        await server.start()
        await returned(backend)
        # Nobody says what was seen of the channel.
        history = await backend.history("room", last=9, after=[before])
        assert history.position.epoch != before.epoch
        assert not history.publications
        (first,) = await publish(backend, "room", "new")
        await canary(backend)
        (second,) = await publish(backend, "room", "newer")
        assert first.epoch == second.epoch == history.position.epoch


def give_away(copy: Path, model: Path) -> None:
    """Give a folder the owner that another one has."""
    for path in (copy, *copy.rglob("*")):
        shutil.chown(path, model.stat().st_uid, model.stat().st_gid)


async def test_a_replica_that_takes_over_begins_an_epoch(tmp_path: Path) -> None:
    if binary("pg_basebackup") is None:
        pytest.skip("needs pg_basebackup beside the other binaries of PostgreSQL")
    async with PostgresServer(tmp_path).running() as server, connected(server.url) as backend:
        await subscribe(backend, "room")
        (before,) = await publish(backend, "room", "which the replica has")
        copy = server.cluster.folder / "copy"
        await asyncio.to_thread(back_up, server, copy)
        (lost,) = await publish(backend, "room", "which it has not")
        server.kill()
        shutil.rmtree(server.cluster.data)
        copy.rename(server.cluster.data)
        (server.cluster.data / "recovery.signal").touch()
        give_away(server.cluster.data, server.cluster.folder)
        await server.start()
        await returned(backend)
        history = await backend.history("room", last=9, after=[before, lost])
        assert history.position.epoch != before.epoch


def back_up(server: PostgresServer, copy: Path) -> None:
    command = [
        str(binary("pg_basebackup")),
        "--dbname",
        server.cluster.url(),
        "--pgdata",
        str(copy),
    ]
    subprocess.run([*command, "--checkpoint=fast", "--no-sync"], check=True)
    with (copy / "postgresql.auto.conf").open("a") as file:
        file.write("restore_command = 'false'\n")


@pytest.mark.parametrize("is_restored", [False, True])
async def test_tables_that_were_dropped_are_made_again_and_begin_an_epoch(
    tables: Tables, *, is_restored: bool
) -> None:
    async with connected(tables.url) as backend:
        await subscribe(backend, "room")
        (before,) = await publish(backend, "room", "lost")
        if is_restored:
            await restore_dump(tables)
        else:
            await tables.execute("DROP SCHEMA {schema} CASCADE")
            await until(lambda: not backend.alive)
        await returned(backend)
        await subscribe(backend, "room")
        after = await published_at_last(backend, before)
        assert after.epoch != before.epoch
        assert messages((await backend.history("room", last=9)).publications) == ["new"]


async def published_at_last(backend: Backend, seen: Position) -> Position:
    """Publish, which may fail at first."""
    (position,) = await publish(backend, "room", "new")
    assert position != seen
    return position


async def restore_dump(tables: Tables) -> None:
    """Replace the tables by those of a dump."""
    url = tables.server.cluster.url("app", "app")
    dump = [str(binary("pg_dump")), "--dbname", url, "--schema", tables.schema, "--clean"]
    if binary("pg_dump") is None or binary("psql") is None:
        pytest.skip("needs pg_dump and psql beside the other binaries of PostgreSQL")
    sql = await asyncio.to_thread(subprocess.run, dump, capture_output=True, check=True)
    load = [str(binary("psql")), "--dbname", url, "--single-transaction", "--quiet"]
    await asyncio.to_thread(subprocess.run, load, input=sql.stdout, capture_output=True, check=True)
