"""A PostgreSQL for these tests, in which each has tables of its own."""

import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.broker.postgres import PostgresServer


class Tables:
    """The tables of one test."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.schema = f"tests_{secrets.token_hex(4)}"
        self.url = f"{server.url}?schema={self.schema}"

    async def execute(self, statement: str, *arguments: object) -> object:
        """Execute a statement about `{schema}` as a superuser."""
        return await self.server.execute(statement.replace("{schema}", self.schema), *arguments)

    async def count(self, table: str, condition: str = "true") -> int:
        """Count rows."""
        statement = f"SELECT count(*) FROM {self.schema}.{table} WHERE {condition}"  # noqa: S608
        found = await self.execute(statement)
        assert isinstance(found, int)
        return found


@pytest_asyncio.fixture(scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    async with PostgresServer(tmp_path_factory.mktemp("postgres")).running() as server:
        yield server


@pytest_asyncio.fixture
async def tables(postgres: PostgresServer) -> AsyncIterator[Tables]:
    """Tables for one test. They are created when somebody connects."""
    yield Tables(postgres)
    await postgres.restore()
