"""A real NATS with JetStream: one that is already there, a local binary, or a container."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from app.realtime.broker.nats.names import Names
from app.realtime.broker.nats.options import read_options
from tests.support.broker_server import BrokerServer, docker_runs
from tests.support.quick_start import preload
from tests.support.server import PATIENCE, free_port

preload("nats.aio.client")


@asynccontextmanager
async def serve(folder: Path) -> AsyncIterator[str]:
    """The URL of a broker, for the length of the block."""
    if address := os.environ.get("TEST_NATS_URL"):
        yield address
    elif shutil.which("nats-server"):
        (folder / "nats").mkdir(exist_ok=True)
        async with NatsServer(folder / "nats").running() as server:
            yield server.url
    elif docker_runs():
        container = DockerContainer("nats:2.12-alpine", command="--jetstream")
        container.with_exposed_ports(4222).waiting_for(LogMessageWaitStrategy("Server is ready"))
        with container:
            host, port = container.get_container_host_ip(), container.get_exposed_port(4222)
            yield f"nats://{host}:{port}"
    else:
        pytest.skip("no TEST_NATS_URL, no nats-server on PATH, and Docker does not run")


async def quiet(error: Exception) -> None:
    """What nats-py reports is raised, too."""


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Client]:
    """A client of a test, for the length of the block."""
    connected = await nats.connect(url, allow_reconnect=False, error_cb=quiet, connect_timeout=1)
    try:
        yield connected
    finally:
        await connected.close()


class NatsServer(BrokerServer):
    """A NATS of the test's own. Its data are in `folder`."""

    accepts_within = 1.0

    def __init__(
        self, folder: Path, config: str = "", login: str = "", *, has_jetstream: bool = True
    ) -> None:
        """`config` is added to its configuration. `login` is for the URL: "user:password@"."""
        super().__init__(folder)
        binary = shutil.which("nats-server")
        if binary is None:
            pytest.skip("needs nats-server on PATH, to kill it")
        self._binary = binary
        self.config = config
        self._has_jetstream = has_jetstream
        self.port = free_port()
        self.data = folder / f"jetstream-{self.port}"
        self.url = f"nats://{login}127.0.0.1:{self.port}"

    async def start(self) -> None:
        lines = ["host: 127.0.0.1", f"port: {self.port}", self.config]
        if self._has_jetstream:
            lines += ["jetstream {", f"  store_dir: '{self.data}'", "}"]
        configuration = self.folder / f"nats-{self.port}.conf"
        configuration.write_text("\n".join(lines))
        self._process = subprocess.Popen(  # noqa: ASYNC220
            [self._binary, "--config", str(configuration)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        async with asyncio.timeout(PATIENCE):
            while not await self._answers():
                await asyncio.sleep(0.02)

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True

    async def lose_data(self) -> None:
        shutil.rmtree(self.data)

    def copy_data(self) -> Path:
        """A copy of the data of a server that does not run."""
        copy = self.data.with_suffix(".copy")
        shutil.copytree(self.data, copy)
        return copy

    def restore_data(self, copy: Path) -> None:
        """Have the data of a copy, as from a backup."""
        shutil.rmtree(self.data)
        shutil.copytree(copy, self.data)

    async def cut(self) -> None:
        self.kill()
        await self.start()

    async def inject(self, channel: str, payload: bytes) -> None:
        async with client(self.url) as connected:
            await connected.publish(Names(stream_of(self.url)).plain(channel), payload)
            await connected.flush()


def stream_of(url: str) -> str:
    """The stream that an application uses with this URL."""
    return read_options(url).stream


Server = NatsServer
