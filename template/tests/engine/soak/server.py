"""A server that soak tests can look into, and what thousands of sockets need."""

import asyncio
import os
import re
import resource
from pathlib import Path

import httpx
import pytest

from tests.support.server import AppServer

FAILURES = ("Traceback", "Task was destroyed", "was never retrieved", " ERROR ", " CRITICAL ")
"""What a log must not contain, whatever happened."""

MOST_SOCKETS = 6000
"""Files that a soak test may have open."""


class SoakServer(AppServer):
    """A server with one worker, whose process id is known."""

    is_forked = False

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        super().__init__(folder, environment, ("tests.engine.soak.observed",))

    @property
    def pid(self) -> int:
        assert self._process is not None
        assert self._process.pid is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.is_alive()

    def memory(self) -> int:
        """The bytes that the process uses, in memory or swapped out."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        kilobytes = re.findall(r"^(?:Rss|Swap): +(\d+) kB", lines, re.MULTILINE)
        return 1024 * sum(map(int, kilobytes))

    async def trim(self) -> None:
        """Have the process return the memory that it does not use."""
        async with httpx.AsyncClient(base_url=self.url) as http:
            (await http.get("/trim")).raise_for_status()

    async def metric(self, name: str) -> float:
        """The value of a metric without labels."""
        async with httpx.AsyncClient(base_url=self.url) as http:
            text = (await http.get("/metrics")).text
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        assert found is not None, f"no {name} in:\n{text}"
        return float(found[1])

    async def tasks(self) -> int:
        """How many asyncio tasks the server has."""
        async with httpx.AsyncClient(base_url=self.url) as http:
            return int((await http.get("/tasks")).text)

    async def wait_until_idle(self, tasks: int, patience: float) -> tuple[float, int]:
        """Wait until no socket is open and no more than `tasks` are left.

        Returns both numbers as they are then, or after `patience` seconds.
        """
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + patience
        while True:
            left = await self.metric("websocket_connections"), await self.tasks()
            if left <= (0, tasks) or loop.time() > give_up_at:
                return left
            await asyncio.sleep(0.2)

    def failures(self) -> list[str]:
        """The lines of the log that report a failure."""
        return [
            line for line in self.read_log().splitlines() if any(word in line for word in FAILURES)
        ]


def allow_many_sockets() -> None:
    """Raise the limit of open files as far as possible. The servers inherit it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < MOST_SOCKETS:
        pytest.skip(f"needs {MOST_SOCKETS} open files, and the hard limit (ulimit -Hn) is {most}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def cores() -> tuple[set[int], set[int]]:
    """The cores for the server and those for its clients, which differ if there are two."""
    first, *others = sorted(os.sched_getaffinity(0))
    return (set(others), {first}) if others else ({first}, {first})
