"""Generate a project with default answers into a temporary folder, and serve it.

Ctrl-C ends the server and removes the folder.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType

TEMPLATE = Path(__file__).resolve().parent.parent
START_DEADLINE = 60.0
"""Seconds that the server may take until it answers."""


def main() -> None:
    port = free_port(int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
    folder = Path(tempfile.mkdtemp(prefix="demo-"))
    try:
        project = folder / "my-chat"
        generate(project)
        serve(project, port)
    except KeyboardInterrupt:
        pass
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        say(f"Removed {folder}.")


def generate(project: Path) -> None:
    """What a user would do, and without --trust."""
    copier = Path(sys.executable).with_name("copier")
    run(copier, "copy", "--defaults", "--quiet", "--vcs-ref=HEAD", TEMPLATE, project)
    run("uv", "sync", "--quiet", "--directory", project)


def serve(project: Path, port: int) -> None:
    """Serve the project until somebody ends it; then end all its processes."""
    command = ["uv", "run", "fastapi", "dev", "--host=127.0.0.1", f"--port={port}"]
    # A group of its own, so that the reloader and its worker get one signal together.
    server = subprocess.Popen(command, cwd=project, env=environment(), process_group=0)
    try:
        wait_until_ready(server, port)
        say(f"Open http://127.0.0.1:{port} in two tabs, and register. Ctrl-C ends the demo.")
        server.wait()
        raise SystemExit(f"The server ended by itself, with exit code {server.returncode}.")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C changes nothing
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(server.pid, number)
                server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                continue
            except ProcessLookupError:
                break


def wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_DEADLINE
    while server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            if time.monotonic() > deadline:
                raise SystemExit("The server did not answer in time.") from None
            time.sleep(0.1)


def free_port(first: int) -> int:
    """The first port from `first` on that nobody listens on."""
    for port in range(first, 65536):
        with socket.socket() as candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SystemExit(f"There is no free port from {first} on.")


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, env=environment())


def environment() -> dict[str, str]:
    """Without what belongs to the template's own environment."""
    return {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}


def say(sentence: str) -> None:
    print(f"\n  {sentence}\n", flush=True)


def interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    main()
