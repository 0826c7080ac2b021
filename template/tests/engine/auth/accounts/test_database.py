"""The database: its schema, its migrations, and its connections."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.auth.accounts import database as module
from app.auth.accounts.database import (
    Base,
    Database,
    SchemaMismatch,
    make_engine,
    migrate,
    newest_revisions,
    open_database,
    recorded_revisions,
    schema_change,
)
from app.auth.accounts.logins import Login, Logins
from app.auth.accounts.store import Account, Accounts
from tests.support.auth import sign_in
from tests.support.auth.accounts import PASSWORD
from tests.support.client import open_client
from tests.support.server import PROJECT, StartServer, free_port, run_module

pytest_plugins = ["tests.engine.auth.accounts.database"]

SOCKETS = 30
"""Twice as many as the connections in SQLAlchemy's pool."""


@pytest_asyncio.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """The engine of a database without tables."""
    engine = make_engine(database_url)
    yield engine
    await engine.dispose()


async def differences(engine: AsyncEngine) -> list[object]:
    """How the tables differ from those in the code."""

    def compare(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))

    async with engine.connect() as connection:
        return await connection.run_sync(compare)


async def tables(engine: AsyncEngine) -> set[str]:
    async with engine.connect() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


async def execute(engine: AsyncEngine, statement: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(statement))


# --- The schema -----------------------------------------------------------------


async def test_a_new_database_has_the_tables_of_the_code(engine: AsyncEngine) -> None:
    await migrate(engine)

    assert await differences(engine) == []


async def test_migrations_can_be_undone_and_run_again(engine: AsyncEngine) -> None:
    await migrate(engine)
    config = Config()
    config.set_main_option("script_location", str(PROJECT / "migrations"))
    async with schema_change(engine) as connection:
        config.attributes["connection"] = connection.sync_connection
        await connection.run_sync(lambda _: command.downgrade(config, "base"))
    assert await tables(engine) == {"alembic_version"}

    await migrate(engine)

    assert await differences(engine) == []


async def test_no_migration_runs_on_a_database_that_is_up_to_date(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(engine)
    async with engine.connect() as connection:
        assert await connection.run_sync(recorded_revisions) == newest_revisions()

    def fail(*_: object) -> None:
        raise AssertionError("ran migrations")

    monkeypatch.setattr(command, "upgrade", fail)
    await migrate(engine)


async def test_several_tasks_can_open_an_empty_database_at_once(database_url: str) -> None:
    async with AsyncExitStack() as stack:
        databases = await asyncio.gather(
            *(stack.enter_async_context(open_database(database_url)) for _ in range(8))
        )

        await Accounts(databases[0]).add("Ada", PASSWORD)
        assert await Accounts(databases[7]).verify("Ada", PASSWORD)


async def test_several_workers_can_start_at_once_on_an_empty_database(
    start_server: StartServer, database_url: str
) -> None:
    await asyncio.gather(*(start_server(DATABASE_URL=database_url) for _ in range(3)))


async def test_a_database_with_tables_that_no_migration_made_is_left_as_it_is(
    engine: AsyncEngine, database_url: str
) -> None:
    await execute(engine, "CREATE TABLE logins (id INTEGER PRIMARY KEY)")
    await execute(engine, "INSERT INTO logins VALUES (7)")

    with pytest.raises(SQLAlchemyError, match=r"logins.* already exists"):
        async with open_database(database_url):
            pass

    assert await tables(engine) == {"logins"}
    async with engine.connect() as connection:
        assert (await connection.scalars(text("SELECT id FROM logins"))).all() == [7]


NEW_COLUMN = '''"""A column that SQLite can only add by copying the table."""

import sqlalchemy as sa
from alembic import op

revision: str = "owners_0001"
down_revision = None
branch_labels = None
depends_on = ("accounts_1",)


def upgrade() -> None:
    with op.batch_alter_table("accounts", recreate="auto") as accounts:
        accounts.alter_column("name", type_=sa.String(100))
'''


async def test_changing_a_table_keeps_the_rows_that_refer_to_it(
    database: Database, engine: AsyncEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await Accounts(database).add("Ada", PASSWORD)
    token = await Logins(database).start(account, 60)
    migrations = tmp_path / "migrations"
    shutil.copytree(PROJECT / "migrations", migrations)
    (migrations / "versions" / "owners_0001.py").write_text(NEW_COLUMN)
    monkeypatch.setattr(module, "MIGRATIONS", migrations)

    await migrate(engine)

    async with engine.connect() as connection:
        columns = await connection.run_sync(lambda sync: inspect(sync).get_columns("accounts"))
        assert {column["name"]: str(column["type"]) for column in columns}["name"].endswith("(100)")
        assert await connection.run_sync(recorded_revisions) == newest_revisions()
    assert await Logins(database).find(token)


async def test_foreign_keys_are_enforced_after_tables_were_changed(
    engine: AsyncEngine,
) -> None:
    await migrate(engine)
    database = Database(engine)
    account = await Accounts(database).add("Ada", PASSWORD)
    token = await Logins(database).start(account, 60)

    await execute(engine, "DELETE FROM accounts")

    assert await Logins(database).find(token) is None
    async with database.transaction() as session:
        assert (await session.scalars(text("SELECT id FROM logins"))).all() == []


# --- A database that another version has migrated ---------------------------------


async def test_a_database_that_is_ahead_of_the_code_is_refused(
    database_url: str, engine: AsyncEngine
) -> None:
    await migrate(engine)
    await execute(engine, "UPDATE alembic_version SET version_num = 'of_next_year'")
    before = await tables(engine)

    with pytest.raises(SchemaMismatch, match="'of_next_year'"):
        async with open_database(database_url):
            pass

    assert await tables(engine) == before


async def test_a_database_that_is_ahead_of_the_code_stops_the_start_with_a_sentence(
    new_project: Path,
) -> None:
    url = f"sqlite+aiosqlite:///{new_project / 'app.db'}"
    engine = make_engine(url)
    await migrate(engine)
    await execute(engine, "UPDATE alembic_version SET version_num = 'of_next_year'")
    await engine.dispose()
    sentence = "The database in DATABASE_URL does not fit migrations/: "

    server = run_module(new_project, "app", DATABASE_URL=url, PORT=str(free_port()))
    assert server.returncode == 3
    assert sentence in server.stderr

    arguments = ("app.auth.accounts", "add-user", "Ada")
    add_user = run_module(new_project, *arguments, stdin=PASSWORD, DATABASE_URL=url)
    assert add_user.returncode == 1
    assert add_user.stderr.startswith(sentence)
    assert len(add_user.stderr.splitlines()) == 1


# --- The command --------------------------------------------------------------------


def alembic(project: Path, *arguments: str, **settings: str) -> str:
    """Run `alembic` in the project's folder. Returns what it printed."""
    ended = run_module(project, "alembic", *arguments, **settings)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


NEW_TABLE = '''
from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.auth import Base


class Note(Base):
    """A table that the owner of the project added."""

    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
'''


def test_alembic_writes_and_runs_the_migration_for_a_new_table(new_project: Path) -> None:
    (new_project / "app" / "notes.py").write_text(NEW_TABLE)
    (new_project / "app" / "handlers.py").write_text("from app.notes import Note\n")
    alembic(new_project, "upgrade", "heads")

    alembic(new_project, "revision", "--autogenerate", "-m", "notes", "--head", "accounts@head")
    alembic(new_project, "upgrade", "heads")

    (written,) = (new_project / "migrations" / "versions").glob("*_notes.py")
    assert "create_table" in written.read_text()
    assert "No new upgrade operations" in alembic(new_project, "check")


def test_alembic_prints_the_sql_of_the_migrations(new_project: Path) -> None:
    nowhere = "postgresql+asyncpg://nowhere/app"

    script = alembic(new_project, "upgrade", "heads", "--sql", DATABASE_URL=nowhere)

    for table in (Account.__tablename__, Login.__tablename__):
        assert f"CREATE TABLE {table}" in script


# --- Connections --------------------------------------------------------------------


async def test_open_sockets_hold_no_connections_to_the_database(
    start_server: StartServer, database_url: str
) -> None:
    server = await start_server(DATABASE_URL=database_url)
    credentials = await sign_in(server.url, "Ada")
    async with AsyncExitStack() as stack:
        for path in ["/ws", "/ws/echo"] * (SOCKETS // 2):
            socket = open_client(server.ws_url, credentials, path)
            client = await stack.enter_async_context(socket)
            await client.expect("welcome")

        async with httpx.AsyncClient(base_url=server.url, headers=credentials.headers) as http:
            answers = await asyncio.gather(*(http.get("/auth/me") for _ in range(SOCKETS)))

    assert {answer.status_code for answer in answers} == {200}
