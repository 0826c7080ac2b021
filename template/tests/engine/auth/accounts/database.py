"""New databases for the tests: on SQLite, and on a real PostgreSQL.

Set TEST_DATABASE_URL (postgresql+asyncpg://…) to use a running PostgreSQL; its user must be
allowed to create databases. Otherwise the tests start one from the local binaries.
"""

import os
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import URL, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import tests.support.auth.accounts.quick_hashes  # noqa: F401 - in this process too
from app.auth.accounts.database import Database, open_database
from tests.engine.auth.accounts.relay import Relay
from tests.support.postgresql import PostgresqlServer, is_installed

KINDS = ["sqlite", "postgresql"]

GIVEN_SERVER = os.environ.get("TEST_DATABASE_URL")


class Databases:
    """Makes databases, and removes them at the end."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._server: URL | None = None

    async def create(self, kind: str) -> str:
        """The URL of a new database. The first PostgreSQL database starts the server."""
        name = f"tests_{secrets.token_hex(8)}"
        if kind == "sqlite":
            return f"sqlite+aiosqlite:///{self._folder / name}.db"
        if self._server is None:
            self._server = await self._stack.enter_async_context(postgresql())
        await execute(self._server, f"CREATE DATABASE {name}")
        if GIVEN_SERVER:  # a server of the tests' own is deleted as a whole
            drop = f"DROP DATABASE {name} WITH (FORCE)"
            self._stack.push_async_callback(execute, self._server, drop)
        return self._server.set(database=name).render_as_string(hide_password=False)


@pytest_asyncio.fixture(scope="session")
async def databases(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Databases]:
    async with AsyncExitStack() as stack:
        yield Databases(tmp_path_factory.mktemp("databases"), stack)


@pytest_asyncio.fixture(params=KINDS)
async def database_url(request: pytest.FixtureRequest, databases: Databases) -> str:
    """A new database of each kind in turn, for one test."""
    return await databases.create(request.param)


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The new database, open."""
    async with open_database(database_url) as database:
        yield database


@pytest_asyncio.fixture(scope="module", params=KINDS)
async def shared_database_url(request: pytest.FixtureRequest, databases: Databases) -> str:
    """A new database of each kind in turn, shared by the tests of a module."""
    return await databases.create(request.param)


@pytest_asyncio.fixture
async def shared_database(shared_database_url: str) -> AsyncIterator[Database]:
    """The new database, open."""
    async with open_database(shared_database_url) as database:
        yield database


@pytest.fixture
def outage() -> Callable[[str], AbstractAsyncContextManager[None]]:
    """Makes a database unusable for the length of a block."""
    return away


@pytest_asyncio.fixture
async def relay(databases: Databases) -> AsyncIterator[Relay]:
    """Leads to a new PostgreSQL database."""
    relay = Relay(await databases.create("postgresql"))
    async with relay.running():
        yield relay


@asynccontextmanager
async def away(url: str) -> AsyncIterator[None]:
    """Lock a SQLite file; have PostgreSQL close all connections and refuse new ones."""
    database = make_url(url)
    if database.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(str(database.database), isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield
            other.execute("ROLLBACK")
        return
    name, server = database.database, database.set(database="postgres")
    await execute(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname ="
    await execute(server, f"{ending} '{name}'")
    yield
    await execute(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


# --- The server -----------------------------------------------------------------


@asynccontextmanager
async def postgresql() -> AsyncIterator[URL]:
    """The URL of a PostgreSQL server, for the length of the block."""
    if GIVEN_SERVER:
        yield make_url(GIVEN_SERVER)
        return
    if not is_installed():
        pytest.skip("no TEST_DATABASE_URL, and no initdb and postgres on PATH: install PostgreSQL")
    async with PostgresqlServer(synchronous_commit="off").running() as server:
        yield make_url(server.url()).set(drivername="postgresql+asyncpg")


async def execute(url: URL, statement: str) -> None:
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.execute(text(statement))
    await engine.dispose()
