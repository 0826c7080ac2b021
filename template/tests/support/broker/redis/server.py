"""A Redis of the test's own."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app import PROJECT_NAME
from tests.support.broker.redis.tls import Certificates
from tests.support.broker_server import BrokerServer
from tests.support.quick_start import preload
from tests.support.server import PATIENCE, free_port

preload("redis.asyncio")

DURABLE = {"save": "", "appendonly": "yes", "appendfsync": "always"}
"""Nothing that was acknowledged is lost when the server is killed."""

EMPTY = '""'

FORGETFUL = {"appendonly": "no"}
"""Everything is lost when the server ends."""


def find_binary(name: str = "redis-server") -> str:
    """The path of a program. Skips the test if there is none."""
    binary = shutil.which(name)
    if binary is None:
        pytest.skip(f"needs {name} on PATH, to kill it")
    return binary


def find_binary_with_tls() -> str:
    """The path of a `redis-server` that was built with TLS. Skips the test if there is none."""
    for folder in os.get_exec_path():
        binary = shutil.which("redis-server", path=folder)
        if binary is not None:
            # It ends at once, and says why: it has no certificate, or no TLS.
            command = [binary, "--port", "0", "--tls-port", str(free_port())]
            said = subprocess.run(command, capture_output=True, check=False, text=True).stdout
            if "tls-cert-file" in said:
                return binary
    pytest.skip("needs a redis-server on PATH that was built with TLS, as Debian's is")


async def until_answered(client: Any) -> None:
    """Wait until a server answers."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await client.ping()
            except RedisError:
                await asyncio.sleep(0.02)
            else:
                return


class RedisServer(BrokerServer):
    """A Redis of the test's own. It keeps its data in `folder`, unless it is `FORGETFUL`."""

    accepts_within = 1.0

    def __init__(
        self,
        folder: Path,
        binary: str = "redis-server",
        certificates: Certificates | None = None,
        /,
        **options: str,
    ) -> None:
        """The options are those of `redis.conf`. With certificates, it takes TLS only."""
        super().__init__(folder)
        self._binary = find_binary(binary)
        self.port = free_port()
        listens = {"port": str(self.port)}
        if certificates is not None:
            listens = {"port": "0", "tls-port": str(self.port), **certificates.server}
        self.options = {**DURABLE, **listens, "bind": "127.0.0.1", **options}
        self._is_paused = False
        credentials = f":{options['requirepass']}@" if "requirepass" in options else ""
        scheme, query = ("redis", "") if certificates is None else ("rediss", certificates.query)
        self.url = f"{scheme}://{credentials}127.0.0.1:{self.port}/0{query}"

    @property
    def answers(self) -> bool:
        """Whether it runs, and is not paused."""
        return self._process is not None and not self._is_paused

    def kill(self) -> None:
        super().kill()
        self._is_paused = False

    def pause(self) -> None:
        super().pause()
        self._is_paused = True

    def resume(self) -> None:
        super().resume()
        self._is_paused = False

    def client(self) -> Redis:
        """Connects as somebody who may do everything."""
        return Redis.from_url(self.url)

    async def start(self) -> None:
        self.launch()
        async with self.client() as client:
            await until_answered(client)

    def launch(self) -> None:
        """Start without waiting."""
        file = self.folder / "redis.conf"
        if not file.exists():  # a Sentinel may have changed it
            options = {"dir": str(self.folder), **self.options}
            lines = [f"{name} {value or EMPTY}\n" for name, value in options.items()]
            file.write_text("".join(lines))
        self._process = subprocess.Popen(self.command(file), stdout=subprocess.DEVNULL)

    def command(self, file: Path) -> list[str]:
        """The command that starts it with this configuration."""
        return [self._binary, str(file)]

    async def lose_data(self) -> None:
        shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)
        (self.folder / "dump.rdb").unlink(missing_ok=True)

    async def cut(self) -> None:
        async with self.client() as client:
            for kind in ("normal", "pubsub"):
                await client.client_kill_filter(_type=kind, skipme=True)

    async def inject(self, channel: str, payload: bytes) -> None:
        async with self.client() as client:
            await client.publish(f"{PROJECT_NAME}:0:{channel}", payload)
