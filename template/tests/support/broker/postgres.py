"""A real PostgreSQL: one that is already there, a local server, or a container."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from testcontainers.community.postgres import PostgresContainer

from app.realtime.broker.postgres.address import default_schema
from tests.support.broker_server import BrokerServer, docker_runs
from tests.support.postgresql import PostgresqlServer, is_installed
from tests.support.quick_start import preload

preload("asyncpg")


@asynccontextmanager
async def serve(folder: Path) -> AsyncIterator[str]:
    """The URL of a broker, for the length of the block."""
    if address := os.environ.get("TEST_POSTGRES_URL"):
        yield address
    elif is_installed():
        async with PostgresServer(folder).running() as server:
            yield server.url
    elif docker_runs():
        with PostgresContainer("postgres:18-alpine", driver=None) as container:
            yield container.get_connection_url()
    else:
        pytest.skip("no TEST_POSTGRES_URL, no initdb and postgres on PATH, and Docker does not run")


class PostgresServer(BrokerServer):
    """A PostgreSQL of the test's own, with an application that may create its tables."""

    accepts_within = 2.0

    def __init__(self, folder: Path, **options: str) -> None:
        """The options are those of `postgresql.conf`."""
        super().__init__(folder)
        if not is_installed():
            pytest.skip("needs initdb and postgres on PATH, to kill it")
        self.cluster = PostgresqlServer(**options)
        self.port = self.cluster.port
        self.url = self.cluster.url("app", "app")

    async def start(self) -> None:
        is_new = not self.cluster.data.exists()
        await self.cluster.start()
        self._process = self.cluster.process
        if is_new:
            await self.execute("CREATE ROLE app LOGIN", database="postgres")
            await self.execute("CREATE DATABASE app OWNER app", database="postgres")

    async def stop(self) -> None:
        await asyncio.to_thread(self.cluster.remove)
        self._process = None

    def kill(self) -> None:
        self.cluster.kill()
        self._process = None

    def _signal(self, number: signal.Signals) -> None:
        self.cluster.signal(number)

    async def lose_data(self) -> None:
        shutil.rmtree(self.cluster.data)

    async def cut(self) -> None:
        await self.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app'"
        )

    async def inject(self, channel: str, payload: bytes) -> None:
        # A notification is text, without NUL.
        text = payload.decode(errors="replace").replace("\0", "")
        notify = "SELECT pg_notify($1, $2)"
        await self.execute(notify, default_schema(), f"{channel}\n{text}"[:7000])

    async def execute(self, statement: str, *arguments: object, database: str = "app") -> object:
        """Execute a statement as a superuser, up to its first row. Returns the first value."""
        connection = await asyncpg.connect(self.cluster.url(database=database))
        try:
            return await connection.fetchval(statement, *arguments)
        finally:
            await connection.close()

    async def run(self, script: str) -> None:
        """Execute several statements as a superuser."""
        connection = await asyncpg.connect(self.cluster.url(database="app"))
        try:
            await connection.execute(script)
        finally:
            await connection.close()


Server = PostgresServer
"""A server of the broker that these tests may kill, pause and wipe."""
