"""What the tests need of a broker's server, whichever broker it is."""

import os
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar, Self


class BrokerServer(ABC):
    """A server of the test's own, which it may kill, pause and start again.

    It writes to `folder`, and keeps what it has acknowledged when it is killed.
    """

    accepts_within: ClassVar[float] = 5.0
    """Seconds that it needs from its start until it answers."""

    is_continued: ClassVar[bool] = False
    """Whether the application goes on reading where it was when its connections are cut, so that
    no channel has to be told that it may have missed something."""

    url: str
    """For BROKER_URL."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Run for the length of the block."""
        try:
            await self.start()
            yield self
        finally:
            await self.stop()

    async def stop(self) -> None:
        """End it, and everything that belongs to it."""
        self.kill()

    @abstractmethod
    async def start(self) -> None:
        """Start with the data of before, and wait until it answers."""

    @abstractmethod
    async def lose_data(self) -> None:
        """Lose everything that was published. It is called after `kill`, before `start`."""

    @abstractmethod
    async def cut(self) -> None:
        """Close every connection of the application, which may connect again at once."""

    @abstractmethod
    async def inject(self, channel: str, payload: bytes) -> None:
        """Let those who are subscribed to a channel receive bytes that no backend sent."""

    def kill(self) -> None:
        """End at once, without a word to anybody. Its data stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def restore(self) -> None:
        """Run and answer again, whatever a test has done to it."""
        if self._process is None:
            await self.start()
        else:
            self.resume()

    def pause(self) -> None:
        """Stop answering, with every connection open."""
        self._signal(signal.SIGSTOP)
        assert self._process is not None
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)  # until all its threads have stopped

    def resume(self) -> None:
        """Answer again after `pause`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


def docker_runs() -> bool:
    """Whether containers can be started here."""
    docker = shutil.which("docker")
    if docker is None:
        return False
    return subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0
