"""Everything but notifications goes through a pooler that pools transactions."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import quote

import asyncpg
import pytest

from app.realtime.broker.postgres.backend import PostgresBackend
from tests.engine.broker.contract import (
    connected,
    messages,
    publications,
    publish,
    remembered,
    subscribe,
)
from tests.engine.broker.postgres.conftest import Tables
from tests.support.client import until
from tests.support.server import PATIENCE, free_port

CONFIGURATION = """
[databases]
app = host=127.0.0.1 port={server} dbname=app user=app
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
server_round_robin = 1
"""


@asynccontextmanager
async def pooler(tables: Tables) -> AsyncIterator[str]:
    """A PgBouncer with fewer connections than its clients have, and the URL that leads to it."""
    binary = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if binary is None:
        pytest.skip("needs pgbouncer on PATH")
    port = free_port()
    folder = tables.server.cluster.folder
    file = folder / f"pgbouncer-{port}.ini"
    file.write_text(CONFIGURATION.format(server=tables.server.port, port=port))
    user = "nobody" if os.geteuid() == 0 else None  # it refuses to run as root
    with (folder / f"pgbouncer-{port}.log").open("wb") as log:
        process = subprocess.Popen([binary, str(file)], user=user, stdout=log, stderr=log)  # noqa: ASYNC220
    try:
        url = f"postgresql://app@127.0.0.1:{port}/app"
        async with asyncio.timeout(PATIENCE):
            while True:
                with suppress(OSError, asyncpg.PostgresError):
                    await (await asyncpg.connect(url, statement_cache_size=0)).close()
                    break
                await asyncio.sleep(0.02)
        yield url
    finally:
        process.kill()
        process.wait()


async def test_a_pooler_carries_everything_but_notifications(tables: Tables) -> None:
    direct = quote(tables.server.url)
    async with pooler(tables) as url:
        pooled = f"{url}?schema={tables.schema}&listen={direct}"
        async with (
            connected(pooled, history_size=10) as one,
            connected(pooled, history_size=10) as other,
            connected(pooled) as third,
        ):
            backends = (one, other, third)
            await until(lambda: all(backend.alive for backend in backends), patience=PATIENCE)
            await asyncio.gather(*(subscribe(backend, "room") for backend in backends))
            for turn in range(5):
                await asyncio.gather(
                    *(publish(backend, "room", f"{turn} {n}") for n, backend in enumerate(backends))
                )
                reads = [remembered(backend, "room") for backend in backends[:2]]
                assert len((await asyncio.gather(*reads))[0]) <= 10
            heard = [messages(await publications(backend, 15)) for backend in backends]
            assert heard[0] == heard[1] == heard[2]
            assert await remembered(one, "room") == heard[0][-10:]
            await one.publish("room", "x" * 9_000)
            assert isinstance(one, PostgresBackend)
            await tables.execute("UPDATE {schema}.server SET swept_at = 0")
            await one._sweep_once()
            await until(lambda: all(backend.alive for backend in backends))


async def test_a_restart_behind_a_pooler_is_survived(tables: Tables) -> None:
    direct = quote(tables.server.url)
    async with pooler(tables) as url:
        pooled = f"{url}?schema={tables.schema}&listen={direct}"
        async with connected(pooled) as backend:
            await until(lambda: backend.alive, patience=PATIENCE)
            await subscribe(backend, "room")
            (before,) = await publish(backend, "room", 1)
            tables.server.kill()
            await until(lambda: not backend.alive)
            await tables.server.start()
            await until(lambda: backend.alive, patience=PATIENCE)
            await subscribe(backend, "room")
            (after,) = await publish(backend, "room", 2)
            assert after.epoch == before.epoch
            assert await remembered(backend, "room") == ["1", "2"]
