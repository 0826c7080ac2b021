"""A real RabbitMQ: one that is already there, a local installation, or a container."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiormq
import pytest
from aiormq.abc import ArgumentsType
from aiormq.exceptions import AMQPError
from testcontainers.core.container import DockerContainer

from app import PROJECT_NAME
from tests.support.broker_server import BrokerServer, docker_runs
from tests.support.quick_start import preload
from tests.support.server import free_port

preload("aiormq")

HERE = "127.0.0.1"
INSTALLED_IN = ("/usr/lib/rabbitmq/bin", "/opt/rabbitmq/sbin", "/usr/local/sbin")

STREAM: ArgumentsType = {"x-queue-type": "stream"}

START_DEADLINE = 60
"""Seconds. A start takes 5 to 10 of them on an idle machine."""

SMALL = "-noinput +S 1:1 +SDcpu 1:1 +SDio 2 +A 2 -kernel inet_dist_use_interface {127,0,0,1}"
"""Options of Erlang: few threads, and nothing that listens beyond this machine."""

GUEST = {"name": "guest", "password": "guest", "tags": ["administrator"]}
EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}
DEFINITIONS = {
    "users": [GUEST],
    "vhosts": [{"name": "/"}],
    "permissions": [{"user": "guest", "vhost": "/", **EVERYTHING}],
}
"""What a new RabbitMQ has, as it says it in a definition file."""


@asynccontextmanager
async def serve(folder: Path) -> AsyncIterator[str]:
    """The URL of a broker, for the length of the block."""
    if address := os.environ.get("TEST_RABBITMQ_URL"):
        yield address
    elif scripts() is not None:
        async with RabbitmqServer(folder).running() as server:
            yield server.url
    elif docker_runs():
        with DockerContainer("rabbitmq:4-alpine").with_exposed_ports(5672) as container:
            host, port = container.get_container_host_ip(), container.get_exposed_port(5672)
            url = f"amqp://guest:guest@{host}:{port}"
            await until_streams_answer(url)
            yield url
    else:
        pytest.skip("no TEST_RABBITMQ_URL, RabbitMQ is not installed, and Docker does not run")


def scripts() -> Path | None:
    """The folder of RabbitMQ's own scripts.

    Those on the PATH of Debian change the user, so they run nothing for anybody else.
    """
    found = (Path(folder) for folder in INSTALLED_IN if Path(folder, "rabbitmq-server").exists())
    return next(found, None)


async def until_streams_answer(url: str) -> None:
    """Wait until streams can be used, which is a second later than connecting."""
    async with asyncio.timeout(START_DEADLINE):
        while True:
            try:
                async with aiormq.connect(url) as connection:
                    channel = await connection.channel()
                    await channel.queue_declare("probe", durable=True, arguments=STREAM)
                    await channel.basic_publish(b"", routing_key="probe", mandatory=True)
            except (AMQPError, OSError):
                await asyncio.sleep(0.05)
            else:
                return


class RabbitmqServer(BrokerServer):
    """A RabbitMQ of the test's own, which it may kill, pause and start again."""

    accepts_within = 20.0

    def __init__(self, folder: Path, *settings: str, **definitions: object) -> None:
        """`settings` are lines of `rabbitmq.conf`.

        `definitions` take the place of those of the same name in its definition file, such as
        `users`.
        """
        super().__init__(folder)
        found = scripts()
        if found is None:
            pytest.skip("needs an installed RabbitMQ, to kill it")
        self._scripts = found
        self.port = free_port()
        self.url = f"amqp://guest:guest@{HERE}:{self.port}"
        self._home = folder / f"rabbitmq-{self.port}"
        self._epmd_port = free_port()
        self._epmd: subprocess.Popen[bytes] | None = None
        self._environment = self._prepare(settings, definitions)

    def _prepare(self, settings: Sequence[str], definitions: dict[str, object]) -> dict[str, str]:
        """Write the server's configuration. Returns its environment variables."""
        home = self._home
        home.mkdir()
        (home / "plugins").write_text("[].\n")
        (home / "definitions.json").write_text(json.dumps(DEFINITIONS | definitions))
        lines = [
            f"listeners.tcp.local = {HERE}:{self.port}",
            f"load_definitions = {home / 'definitions.json'}",
            "disk_free_limit.absolute = 1MB",
            "log.console = true",
            "log.file = false",
            *settings,
        ]
        (home / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        return {
            "ERL_EPMD_ADDRESS": HERE,
            "ERL_EPMD_PORT": str(self._epmd_port),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PATH": os.environ["PATH"],
            "RABBITMQ_ALLOW_INPUT": "1",  # then the script's process becomes the server
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "none"),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_NODENAME": f"test-{self.port}@localhost",
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": SMALL,
        }

    async def start(self) -> None:
        if self._epmd is None:  # it knows the names of Erlang's nodes, and RabbitMQ needs one
            self._epmd = self._run("epmd", "-address", HERE, "-port", str(self._epmd_port))
        self._process = self._run(str(self._scripts / "rabbitmq-server"))
        await until_streams_answer(self.url)

    async def stop(self) -> None:
        self.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None

    def _run(self, *command: str) -> subprocess.Popen[bytes]:
        with (self._home / "output").open("ab") as output:
            return subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    async def lose_data(self) -> None:
        shutil.rmtree(self._home / "data")

    async def cut(self) -> None:
        await self.control("close_all_connections", "cut by a test")

    async def control(self, *arguments: str) -> None:
        """Run `rabbitmqctl`, which takes a second or two."""
        process = await asyncio.create_subprocess_exec(
            self._scripts / "rabbitmqctl", "--quiet", *arguments, env=self._environment
        )
        assert await process.wait() == 0, arguments

    async def inject(self, channel: str, payload: bytes) -> None:  # noqa: ARG002 - all share one
        async with aiormq.connect(self.url) as connection:
            channel_of_amqp = await connection.channel()
            await channel_of_amqp.basic_publish(payload, routing_key=PROJECT_NAME, mandatory=True)


Server = RabbitmqServer
