"""The database of the accounts, and its schema.

A table is a class that inherits from `Base`. `migrations/` brings a database from one
schema to the next, and opening a database runs them.
"""

import ast
import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum
from pathlib import Path
from typing import Annotated

from fastapi import Depends, HTTPException, status
from fastapi.requests import HTTPConnection
from sqlalchemy import Connection, event, exc, inspect, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import ConnectionPoolEntry

MIGRATIONS = Path(__file__).parents[3] / "migrations"

PATIENCE = 10.0
"""Seconds that a transaction may take, unless its caller says otherwise.

A database that hangs would keep clients waiting for hours, until TCP gives up.
"""

RETRY_AFTER = 5
"""Seconds that a client is asked to wait when the database can't be used."""

AT_FAULT = (
    exc.DataError,
    exc.IntegrityError,
    exc.NotSupportedError,
    exc.ProgrammingError,
)
"""What a database raises because of a statement. Its other errors are an outage.

InternalError is one of the others: asyncpg raises it on a connection that PostgreSQL has ended
in the middle of a transaction.
"""

logger = logging.getLogger(__name__)


class Base(DeclarativeBase):
    """A table of the database is a class that inherits from this one."""


class Lock(IntEnum):
    """What only one worker does at a time. The numbers identify the locks in PostgreSQL."""

    MIGRATIONS = 4_401_001
    ATTEMPTS = 4_401_002


class SchemaMismatch(RuntimeError):
    """The database has a schema that this code does not know."""


class DatabaseUnavailable(HTTPException):
    """HTTP 503: the database is unreachable, or busy for too long."""

    def __init__(self) -> None:
        detail = "The accounts are unavailable at the moment: try again."
        headers = {"Retry-After": str(RETRY_AFTER)}
        super().__init__(status.HTTP_503_SERVICE_UNAVAILABLE, detail, headers)


class Database:
    """An open database; `open_database` makes it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)

    @asynccontextmanager
    async def transaction(self, *, seconds: float = PATIENCE) -> AsyncIterator[AsyncSession]:
        """A transaction: committed at its end, rolled back by an exception.

        It holds one of the pool's connections. So keep it short, and never wait for a
        client in it. Raises DatabaseUnavailable, also if it takes longer than `seconds`.
        """
        try:
            async with asyncio.timeout(seconds), self._sessions.begin() as session:
                yield session
        except AT_FAULT:
            raise
        except (OSError, exc.DBAPIError, exc.TimeoutError) as error:
            reason = getattr(error, "orig", error)
            logger.warning("the database can't be used: %s", str(reason) or "it does not answer")
            raise DatabaseUnavailable from error

    @asynccontextmanager
    async def exclusive_transaction(self, lock: Lock) -> AsyncIterator[AsyncSession]:
        """A transaction that starts once it has the lock, which only one worker can have."""
        async with self.transaction() as session:
            await take(lock, await session.connection())
            yield session


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    """Open the database at an async SQLAlchemy URL, and bring its schema up to date.

    Raises SchemaMismatch for one that is ahead of this code.
    """
    engine = make_engine(url)
    try:
        await migrate(engine)
        yield Database(engine)
    finally:
        await engine.dispose()


def make_engine(url: str) -> AsyncEngine:
    # A server may have closed a connection that waits in the pool. A file can't.
    is_sqlite = make_url(url).get_backend_name() == "sqlite"
    engine = create_async_engine(url, pool_pre_ping=not is_sqlite)
    if is_sqlite:
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    return engine


async def take(lock: Lock, connection: AsyncConnection) -> None:
    """Wait for the lock, and keep it to the end of the transaction, which starts here.

    SQLite has a single lock, which every writer takes.
    """
    statements = {
        "sqlite": "BEGIN IMMEDIATE",
        "postgresql": f"SELECT pg_advisory_xact_lock({lock})",
    }
    statement = statements.get(connection.dialect.name)
    if statement is not None:
        await connection.exec_driver_sql(statement)


# --- The schema -----------------------------------------------------------------


async def migrate(engine: AsyncEngine) -> None:
    """Run the migrations that the database lacks. Of several workers, one does."""
    async with engine.connect() as connection:
        if await connection.run_sync(recorded_revisions) == newest_revisions():
            return
    async with schema_change(engine) as connection:
        await connection.run_sync(_upgrade)


@asynccontextmanager
async def schema_change(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction in which tables may be changed, by one worker at a time.

    SQLite changes a table by copying it and dropping the old one. Were foreign keys on,
    that would delete the rows that refer to it (https://sqlite.org/lang_altertable.html).
    """
    is_sqlite = engine.dialect.name == "sqlite"
    async with engine.connect() as connection:
        if is_sqlite:
            await connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
            await connection.commit()
        try:
            async with connection.begin():
                await take(Lock.MIGRATIONS, connection)
                yield connection
        finally:
            if is_sqlite:
                await connection.exec_driver_sql("PRAGMA foreign_keys = ON")


def recorded_revisions(connection: Connection) -> set[str]:
    """The revisions that alembic has recorded in the database."""
    if not inspect(connection).has_table("alembic_version"):
        return set()
    return set(connection.scalars(text("SELECT version_num FROM alembic_version")))


def newest_revisions() -> set[str]:
    """The revisions in `migrations/` that no other one builds on.

    Every worker needs them when it starts, and importing alembic takes a fifth of a
    second. So the files are read, not imported.
    """
    revisions, built_on = set[str](), set[str]()
    for path in (MIGRATIONS / "versions").glob("*.py"):
        strings = strings_assigned_in(path)
        revisions |= strings.get("revision") or {path.name}  # no revision has such a name
        built_on |= strings.get("down_revision", set()) | strings.get("depends_on", set())
    return revisions - built_on


def strings_assigned_in(path: Path) -> dict[str, set[str]]:
    """The strings that a module assigns to each of its variables."""
    strings: dict[str, set[str]] = {}
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                strings[name] = {
                    node.value
                    for node in ast.walk(value)
                    if isinstance(node, ast.Constant) and isinstance(node.value, str)
                }
    return strings


def _upgrade(connection: Connection) -> None:
    # Imported here, because a worker that finds nothing to do does not need it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "heads")
    except CommandError as error:
        raise SchemaMismatch(
            f"The database in DATABASE_URL does not fit migrations/: {error}. Another version "
            "of this project has migrated it, or one with other answers: see README.md."
        ) from None


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    """Let several workers share the file: they wait for each other's locks.

    It is not in WAL mode: workers that switch a new file to it at once fail.
    """
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 5000")  # milliseconds
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


async def get_database(connection: HTTPConnection) -> Database:
    database: Database = connection.app.state.database
    return database


OpenDatabase = Annotated[Database, Depends(get_database)]
