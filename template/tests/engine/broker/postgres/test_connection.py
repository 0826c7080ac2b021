"""The connections to PostgreSQL are cut, refused or silent, and come back."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.realtime.broker import BrokerUnavailable
from app.realtime.broker.postgres import subscriptions
from app.realtime.broker.postgres.backend import PostgresBackend
from app.realtime.broker.postgres.schema import whole_sql
from app.realtime.broker.postgres.subscriptions import BACKOFF_BASE, BACKOFF_CAP
from tests.engine.broker.contract import (
    connected,
    messages,
    publications,
    publish,
    record,
    remembered,
    subscribe,
)
from tests.engine.broker.postgres.conftest import Tables
from tests.support.auth import sign_in
from tests.support.broker.postgres import PostgresServer
from tests.support.client import open_client, until
from tests.support.proxy import Proxy
from tests.support.server import StartServer, run_module


@asynccontextmanager
async def proxied(tables: Tables) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy before the server, and the URL that leads through it."""
    proxy = Proxy(tables.server.port)
    async with proxy.running():
        yield proxy, tables.url.replace(f":{tables.server.port}", f":{proxy.port}")


@pytest.fixture
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "CANARY_INTERVAL", 0.05)
    monkeypatch.setattr(subscriptions, "CANARY_DEADLINE", 0.5)


# --- Outages ------------------------------------------------------------------------


@pytest.mark.usefixtures("short_silence")
async def test_a_silent_connection_is_made_again(tables: Tables) -> None:
    async with proxied(tables) as (proxy, url), connected(url) as backend:
        await subscribe(backend, "room")
        proxy.stall()
        started_at = asyncio.get_running_loop().time()
        with pytest.raises(BrokerUnavailable):
            await backend.publish("room", record("lost"))
        assert asyncio.get_running_loop().time() - started_at < 1
        await until(lambda: not backend.alive)
        proxy.cut()
        await until(lambda: backend.alive)
        await subscribe(backend, "room")
        await publish(backend, "room", "after")
        assert (await remembered(backend, "room"))[-1] == "after"


@pytest.mark.usefixtures("short_silence")
async def test_a_worker_that_does_not_hear_is_not_alive(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(tables.url) as backend:
        assert isinstance(backend, PostgresBackend)
        await until(lambda: backend.alive)
        monkeypatch.setattr(backend._subscriptions, "_receive_own_canary", lambda: None)
        await until(lambda: not backend.alive)
        await backend.publish("room", record("which is taken all the same"))
        monkeypatch.undo()
        await until(lambda: backend.alive)
        assert backend._subscriptions._connects == 2


@pytest.mark.usefixtures("short_silence")
async def test_a_server_that_refuses_to_write_is_told_and_outlived(
    tables: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(tables.url) as backend:
        assert isinstance(backend, PostgresBackend)
        await until(lambda: backend.alive)
        await tables.execute("REVOKE INSERT ON {schema}.canaries FROM app")
        await until(lambda: not backend.alive)
        await asyncio.sleep(0.7)  # longer than silence would be borne
        assert not backend.alive
        await tables.execute("GRANT INSERT ON {schema}.canaries TO app")
        await until(lambda: backend.alive)
        assert backend._subscriptions._connects == 1  # the connection itself was good
    told = "PostgreSQL does not take messages: InsufficientPrivilegeError permission denied"
    assert caplog.text.count(told) == 1


async def test_a_server_that_is_read_only_is_left_and_found_again(
    tables: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    setting = "ALTER ROLE app SET default_transaction_read_only = "
    async with connected(tables.url) as backend:
        await publish(backend, "room", "before")
        await until(lambda: backend.alive)
        try:
            await tables.execute(setting + "on")
            await tables.server.cut()
            await until(lambda: "BROKER_URL has to lead to the primary" in caplog.text)
            with pytest.raises(BrokerUnavailable):
                await backend.publish("room", record("refused"))
        finally:
            await tables.execute(setting + "off")
        await until(lambda: backend.alive)
        await publish(backend, "room", "after")


async def test_reconnecting_has_full_jitter_and_no_end(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    ceilings: list[float] = []

    def uniform(low: float, high: float) -> float:
        assert low == 0
        ceilings.append(high)
        return 0

    async with proxied(tables) as (proxy, url):
        proxy.refuse()
        async with connected(url) as backend:
            monkeypatch.setattr(random, "uniform", uniform)
            await until(lambda: len(ceilings) > 100)
            assert ceilings[:3] == [BACKOFF_BASE, 2 * BACKOFF_BASE, 4 * BACKOFF_BASE]
            assert set(ceilings[10:]) == {BACKOFF_CAP}
            monkeypatch.undo()
            await proxy.accept()
            await until(lambda: backend.alive)


async def test_a_full_queue_of_notifications_is_announced(
    tables: Tables, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(subscriptions, "QUEUE_WARNING", -1)
    monkeypatch.setattr(subscriptions, "CANARY_INTERVAL", 0.05)
    async with connected(tables.url) as backend:
        assert isinstance(backend, PostgresBackend)
        await until(lambda: "the queue of NOTIFY is 0 % full" in caplog.text)
        for _ in range(3):
            before = backend._statements.seen
            await until(lambda: backend._statements.seen is not before)  # noqa: B023
    assert caplog.text.count("the queue of NOTIFY") == 1


# --- The tables ---------------------------------------------------------------------


async def test_many_workers_create_the_tables_at_the_same_time(
    tables: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    backends = [PostgresBackend(tables.url, 1000, 3600) for _ in range(8)]
    await asyncio.gather(*(backend.connect() for backend in backends))
    try:
        await until(lambda: all(backend.alive for backend in backends))
        assert await tables.count("migrations") == 1
        assert not [it for it in caplog.records if it.levelname in {"WARNING", "ERROR"}]
    finally:
        await asyncio.gather(*(backend.disconnect() for backend in backends))


async def test_projects_in_one_database_are_apart(tables: Tables) -> None:
    other = Tables(tables.server)
    async with connected(tables.url) as one, connected(other.url) as two:
        await asyncio.gather(subscribe(one, "room"), subscribe(two, "room"))
        await publish(two, "room", "to the other")
        await publish(one, "room", "to the one")
        assert messages(await publications(one, 1)) == ["to the one"]


# --- What the operator has to do ------------------------------------------------------


@asynccontextmanager
async def role(tables: Tables, password: str = "") -> AsyncIterator[str]:
    """A role without rights. With a password, it has to present it."""
    name = f"role_{secrets.token_hex(4)}"
    await tables.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    if password:
        rules = tables.server.cluster.data / "pg_hba.conf"
        rule = f"host all {name} 127.0.0.1/32 scram-sha-256\n"
        rules.write_text(rule + rules.read_text())
        await tables.execute("SELECT pg_reload_conf()")
    try:
        yield name
    finally:
        await tables.execute(f"DROP OWNED BY {name}")
        await tables.execute(f"DROP ROLE {name}")


async def test_a_missing_right_is_named_with_what_to_run(
    tables: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    async with role(tables) as name:
        url = tables.url.replace("app@", f"{name}@")
        async with connected(url) as backend:
            statement = f'CREATE SCHEMA IF NOT EXISTS "{tables.schema}" AUTHORIZATION "{name}"'
            await until(lambda: statement in caplog.text)
            assert f'the role "{name}" may not create the tables' in caplog.text
            with pytest.raises(BrokerUnavailable):
                await backend.publish("room", record("too early"))
            await tables.execute(statement)
            await until(lambda: backend.alive)
            await publish(backend, "room", "now")
        assert caplog.text.count("may not create the tables") == 1


async def test_a_role_needs_only_the_rights_that_are_documented(
    tables: Tables, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with role(tables) as name:
        module = "app.realtime.broker.postgres.schema"
        printed = await asyncio.to_thread(run_module, tmp_path, module, name, tables.schema)
        assert printed.stdout == whole_sql(tables.schema, name)
        await tables.server.run(printed.stdout)
        url = tables.url.replace("app@", f"{name}@")
        async with connected(url, history_size=2) as backend:
            await subscribe(backend, "room")
            await publish(backend, "room", 1, 2, 1, 3)
            await backend.publish("room", "x" * 9_000)
            assert messages(await publications(backend, 3)) == ["1", "2", "3"]
            await tables.execute("UPDATE {schema}.server SET swept_at = 0")
            assert isinstance(backend, PostgresBackend)
            await backend._sweep_once()
            assert await remembered(backend, "room") == ["2", "3"]
        assert not [it for it in caplog.records if it.levelname in {"WARNING", "ERROR"}]


async def test_a_right_that_is_missing_in_a_schema_is_named(
    tables: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(tables.url) as backend:
        await until(lambda: backend.alive)
    async with role(tables) as name, connected(tables.url.replace("app@", f"{name}@")):
        await until(lambda: "GRANT USAGE ON SCHEMA" in caplog.text)
        assert f'the role "{name}" has no rights in the schema' in caplog.text


async def test_a_wrong_password_is_named_and_can_be_repaired(
    tables: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    async with role(tables, "right") as name:
        await tables.execute(f'CREATE SCHEMA "{tables.schema}" AUTHORIZATION {name}')
        url = tables.url.replace("app@", f"{name}:s3cret@")
        async with connected(url) as backend:
            await until(lambda: "password authentication failed" in caplog.text)
            assert "correct the user or the password in BROKER_URL" in caplog.text
            await tables.execute(f"ALTER ROLE {name} PASSWORD 's3cret'")
            await until(lambda: backend.alive)
    assert "s3cret" not in caplog.text


async def test_a_database_that_is_not_there_is_named(
    tables: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(tables.server.cluster.url("app", "nowhere")):
        told = 'database "nowhere" does not exist: create it, or correct the database in BROKER_URL'
        await until(lambda: told in caplog.text)


async def test_a_database_with_another_encoding_is_refused_with_a_sentence(
    tables: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    create = "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0 OWNER app"
    await tables.execute(create)
    async with connected(tables.server.cluster.url("app", "latin")):
        await until(lambda: "the database has the encoding LATIN1" in caplog.text)
    await tables.execute("DROP DATABASE latin WITH (FORCE)")


async def test_the_logs_hold_no_secret_and_no_payload(
    start_server: StartServer, tables: Tables, room: str
) -> None:
    async with role(tables, "s3cret") as name:
        await tables.execute(f'CREATE SCHEMA "{tables.schema}" AUTHORIZATION {name}')
        url = tables.url.replace("app@", f"{name}:s3cret@")
        server = await start_server(BROKER_URL=url, LOG_LEVEL="debug", PING_INTERVAL=1)
        await server.wait_for_status("/readyz", 200)
        credentials = await sign_in(server.url, "alice")
        async with open_client(server.ws_url, credentials) as alice:
            await alice.join(room)
            await alice.expect("message", id=await alice.publish(room, "marker"))
            for poison in ("marker", "pepoch 7 6 marker", "s1 marker"):
                await tables.execute(
                    "SELECT pg_notify($1, $2)", tables.schema, f"room:{room}\n{poison}"
                )
            await tables.execute("REVOKE INSERT ON {schema}.publications FROM " + name)
            refused = await alice.publish(room, "marker")
            await alice.expect("error", code="unavailable", ref=refused)
        await server.stop()
        log = server.read_log()
    assert "skipped a malformed" in log
    assert "marker" not in log
    assert "s3cret" not in log


async def test_nothing_runs_after_disconnecting(postgres: PostgresServer) -> None:
    tables = Tables(postgres)
    async with connected(tables.url) as backend:
        await subscribe(backend, "room")
    name = f"%{tables.schema}%"
    async with asyncio.timeout(5):
        running = (
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE $1 AND pid <> pg_backend_pid()"
        )
        while await tables.execute(running, name):
            await asyncio.sleep(0.02)
