"""A PostgreSQL of the tests' own, from the local binaries."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self

import asyncpg

from tests.support.server import PATIENCE, free_port

DEBIANS_FOLDER = Path("/usr/lib/postgresql")
"""Where Debian and Ubuntu install the binaries, outside of PATH."""

# Tests survive the end of the server's processes, not that of the machine.
OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
}


class PostgresqlServer:
    """A cluster in a folder of its own. Its superuser is `tests`, without a password."""

    def __init__(self, **options: str) -> None:
        """The options are those of `postgresql.conf`."""
        self._options = {**OPTIONS, **options}
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        # Not in pytest's folders: they are root's, and PostgreSQL runs as another user.
        self._folder = tempfile.TemporaryDirectory(prefix="postgresql-")
        self.folder = Path(self._folder.name)
        self._user = None
        if sys.platform != "win32" and os.geteuid() == 0:  # PostgreSQL refuses to run as root
            self._user = "nobody"
            shutil.chown(self.folder, self._user)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(self, user: str = "tests", database: str = "postgres") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Run for the length of the block."""
        try:
            await self.start()
            yield self
        finally:
            await asyncio.to_thread(self.remove)

    async def start(self) -> None:
        """Start, in a new cluster if there is none, and wait until it answers."""
        await asyncio.to_thread(self._start)
        async with asyncio.timeout(PATIENCE):
            while self.process is not None and self.process.poll() is None:
                try:
                    connection = await asyncpg.connect(self.url())
                except (asyncpg.PostgresError, OSError):
                    await asyncio.sleep(0.02)
                else:
                    await connection.close()
                    return
        raise AssertionError(f"PostgreSQL did not start:\n{(self.folder / 'log').read_text()}")

    def _start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            if not self.data.exists():
                options = ["--auth=trust", "--username=tests", "--encoding=UTF8", "--no-sync"]
                self._run(["initdb", *options, "--pgdata=data"], log=log)
            given = [f"--{name}={value}" for name, value in self._options.items()]
            self.process = subprocess.Popen(
                [str(binary("postgres")), "-D", "data", "-p", str(self.port), *given],
                cwd=self.folder,
                user=self._user,
                stdout=log,
                stderr=log,
            )

    def _run(self, command: list[str], log: object) -> None:
        subprocess.run(
            [str(binary(command[0])), *command[1:]],
            cwd=self.folder,
            user=self._user,
            stdout=log,  # type: ignore[call-overload] # a file
            stderr=log,
            check=True,
        )

    def processes(self) -> list[int]:
        """The server's process, and those that it has started."""
        if self.process is None:
            return []
        server = self.process.pid
        command = ["ps", "-A", "-o", "pid=,ppid="]
        listing = subprocess.run(command, capture_output=True, text=True, check=True)
        pairs = [line.split() for line in listing.stdout.splitlines()]
        return [server, *(int(pid) for pid, parent in pairs if int(parent) == server)]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all processes. The one that starts others gets it first."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """End at once, without a word to anybody."""
        if self.process is None:
            return
        self.signal(signal.SIGSTOP)  # so that none is started meanwhile
        self.signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def remove(self) -> None:
        """End, and delete the data."""
        self.kill()
        self._folder.cleanup()


def binary(name: str) -> str | None:
    folders = [os.environ["PATH"], *map(str, DEBIANS_FOLDER.glob("*/bin"))]
    return shutil.which(name, path=os.pathsep.join(folders))


def is_installed() -> bool:
    """Whether a server can be started here."""
    return binary("initdb") is not None and binary("postgres") is not None
