"""A real Redis: one that is already there, a local binary, or a container."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError
from testcontainers.community.redis import RedisContainer

from app import PROJECT_NAME
from tests.support.broker_server import BrokerServer, docker_runs
from tests.support.quick_start import preload
from tests.support.server import PATIENCE, free_port

preload("redis.asyncio")

DURABLE = {"save": "", "appendonly": "yes", "appendfsync": "always"}
"""Nothing that was acknowledged is lost when the server is killed."""

FORGETFUL = {"appendonly": "no"}
"""Everything is lost when the server ends."""


@asynccontextmanager
async def serve(folder: Path) -> AsyncIterator[str]:
    """The URL of a broker, for the length of the block."""
    if address := os.environ.get("TEST_REDIS_URL"):
        yield address
    elif shutil.which("redis-server"):
        async with RedisServer(folder, **FORGETFUL).running() as server:
            yield server.url
    elif docker_runs():
        with RedisContainer("redis:8-alpine") as container:
            host, port = container.get_container_host_ip(), container.get_exposed_port(6379)
            yield f"redis://{host}:{port}/0"
    else:
        pytest.skip("no TEST_REDIS_URL, no redis-server on PATH, and Docker does not run")


def find_binary() -> str:
    """The path of `redis-server`. Skips the test if there is none."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("needs redis-server on PATH, to kill it")
    return binary


class RedisServer(BrokerServer):
    """A Redis of the test's own. It keeps its data in `folder`, unless it is `FORGETFUL`."""

    accepts_within = 1.0

    def __init__(self, folder: Path, **options: str) -> None:
        """The options are those of `redis.conf`."""
        super().__init__(folder)
        self._binary = find_binary()
        self._options = {**DURABLE, **options}
        self.port = free_port()
        credential = f":{options['requirepass']}@" if "requirepass" in options else ""
        self.url = f"redis://{credential}127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        command = [self._binary, "--port", str(self.port), "--bind", "127.0.0.1"]
        for name, value in {**self._options, "dir": str(self.folder)}.items():
            command += [f"--{name}", value]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: ASYNC220
        async with asyncio.timeout(PATIENCE), Redis.from_url(self.url) as client:
            while True:
                try:
                    await client.ping()
                except RedisError:
                    await asyncio.sleep(0.02)
                else:
                    return

    async def lose_data(self) -> None:
        shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)
        (self.folder / "dump.rdb").unlink(missing_ok=True)

    async def cut(self) -> None:
        async with Redis.from_url(self.url) as client:
            for kind in ("normal", "pubsub"):
                await client.client_kill_filter(_type=kind, skipme=True)

    async def inject(self, channel: str, payload: bytes) -> None:
        async with Redis.from_url(self.url) as client:
            await client.publish(f"{PROJECT_NAME}:0:{channel}", payload)


Server = RedisServer
