"""A real Redis: one that is already there, a local binary, or a container."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError
from testcontainers.community.redis import RedisContainer

from tests.support.quick_start import preload
from tests.support.server import PATIENCE, free_port

preload("redis.asyncio")


@asynccontextmanager
async def serve(folder: Path) -> AsyncIterator[str]:
    """The URL of a broker, for the length of the block."""
    if address := os.environ.get("TEST_REDIS_URL"):
        yield address
    elif shutil.which("redis-server"):
        async with RedisServer(folder).running() as server:
            yield server.url
    elif docker_runs():
        with RedisContainer("redis:8-alpine") as container:
            host, port = container.get_container_host_ip(), container.get_exposed_port(6379)
            yield f"redis://{host}:{port}/0"
    else:
        pytest.skip("no TEST_REDIS_URL, no redis-server on PATH, and Docker does not run")


def docker_runs() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    return subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0


class RedisServer:
    """A Redis of the test's own, which it may kill, pause and start again.

    It keeps its data in `folder`, if its `options` say so: `appendonly="yes"`.
    """

    def __init__(self, folder: Path, **options: str) -> None:
        binary = shutil.which("redis-server")
        if binary is None:
            pytest.skip("needs redis-server on PATH, to kill it")
        self._binary = binary
        self.folder = folder
        self._options = {"save": "", "appendonly": "no", **options}
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        credential = f":{options['requirepass']}@" if "requirepass" in options else ""
        self.url = f"redis://{credential}127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        """Start, and wait until commands are answered."""
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

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Run for the length of the block."""
        try:
            await self.start()
            yield self
        finally:
            self.kill()

    def kill(self) -> None:
        """End at once, without a word to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop answering, with every connection open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
