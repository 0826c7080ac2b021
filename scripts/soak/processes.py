"""Processes that a soak starts: each in a group of its own, and ended for certain."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

PATIENCE = 30.0
"""Seconds that a start or an end may take."""


class StartError(RuntimeError):
    """A server does not answer."""


class Server:
    """A process in a group of its own, which ends with `kill` for certain."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder.parent / f"{name}.log"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def spawn(
        self,
        command: Sequence[str | Path],
        environment: dict[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                user=user,
            )

    def wait_until(self, is_ready: Callable[[], bool]) -> None:
        """Raises StartError."""
        give_up_at = time.monotonic() + PATIENCE
        while time.monotonic() < give_up_at:
            if self.process is None or self.process.poll() is not None:
                break
            if is_ready():
                return
            time.sleep(0.02)
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        raise StartError(f"{self.name} does not start:\n{tail}")

    def signal_all(self, number: int) -> None:
        """Send a signal to the process and to all that it started."""
        for pid in process_tree(self.pid):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def kill(self) -> None:
        """End at once, with all that it started."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def process_tree(pid: int) -> list[int]:
    """A process and all that it started."""
    return [pid, *(below for child in children(pid) for below in process_tree(child))]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def allow_many_sockets(count: int) -> None:
    """Raise the limit of open files. The servers inherit it. Exits if it is too low."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < count + 500:
        sys.exit(f"{count} sockets need more open files than the hard limit (ulimit -Hn) of {most}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
