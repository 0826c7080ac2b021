"""The application as a process of its own."""

import asyncio
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Self

import httpx

from tests.support.auth import SETTINGS
from tests.support.quick_start import start_process

PROJECT = Path(__file__).parents[2]
PATIENCE = 20.0
"""Seconds that a start or an end may take."""

PRODUCTION = ("app",)
"""The owner's application, as `python -m app` serves it."""


def free_port() -> int:
    """A port that nobody listens on, below those that systems give to outgoing connections."""
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def run_module(
    folder: Path, *arguments: str, stdin: str = "", **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run `python -m` in a folder until it ends, with these settings and no others."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), **settings},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class AppServer:
    """A running server. Its settings are those of `environment` and no others.

    `command` is what follows `python -m`.
    """

    is_forked = True
    """Whether it starts as `tests/support/quick_start.py` says, or as an interpreter of its own."""

    def __init__(
        self, folder: Path, environment: dict[str, str], command: Sequence[str] = PRODUCTION
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}"
        self.log = folder / f"server-{self.port}.log"
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(PROJECT),
            "PYTHONUNBUFFERED": "1",
            "PORT": str(self.port),
            "UVICORN_PORT": str(self.port),
            "MESSAGES_PER_SECOND": "0",  # the tests hurry
            **SETTINGS,
            **environment,
        }
        self._command = command
        self.folder = folder
        self._process: BaseProcess | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Serve for the length of the block. It must log no traceback."""
        await self.start()
        try:
            yield self
        finally:
            await self.stop()
        assert "Traceback" not in self.read_log()

    async def start(self) -> None:
        """Start, and wait until requests are answered."""
        self._process = start_process(
            self._command, self.folder, self._environment, self.log, is_forked=self.is_forked
        )
        await self.wait_for_status("/healthz", 200)

    async def wait_for_status(self, path: str, status: int, patience: float = PATIENCE) -> None:
        """Wait until `path` is answered with `status`."""
        answer = "none"
        try:
            async with asyncio.timeout(patience), httpx.AsyncClient(base_url=self.url) as http:
                while answer != str(status):
                    if self._process is not None and not self._process.is_alive():
                        break
                    await asyncio.sleep(0.05)
                    try:
                        answer = str((await http.get(path)).status_code)
                    except httpx.TransportError as error:
                        answer = repr(error)
        except TimeoutError:
            pass
        if answer != str(status):
            log = "\n".join(self.read_log().splitlines()[-30:])
            raise AssertionError(f"{path} answered {answer}, not {status}:\n{log}")

    def read_log(self) -> str:
        return self.log.read_text()

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.join()

    async def stop(self, patience: float = PATIENCE) -> int:
        """Send SIGTERM and wait for the end; the answer is the exit code."""
        assert self._process is not None
        if self._process.is_alive():
            self._process.terminate()
        await asyncio.to_thread(self._process.join, patience)
        if self._process.exitcode is None:
            self.kill()
            raise AssertionError(f"did not end:\n{self.read_log()}")
        return self._process.exitcode


StartServer = Callable[..., Awaitable[AppServer]]
"""Starts a server with the settings given as keywords: the fixture `start_server`."""
