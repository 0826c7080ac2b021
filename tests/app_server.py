"""A generated project that `python -m app` serves."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 20.0
"""Seconds that a start or an end may take."""

SECRET_KEY = "a key for tests that outlives a restart"  # noqa: S105


class AppServer:
    """A server of a project. It keeps its port over restarts."""

    def __init__(self, project: Path, settings: Mapping[str, str] | None = None) -> None:
        self._settings = dict(settings or {})
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.project = project
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until the page is served."""
        settings = {
            "PORT": str(self.port),
            "SECRET_KEYS": SECRET_KEY,
            "REGISTRATIONS_PER_MINUTE_PER_ADDRESS": "0",  # all users come from here
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "app"],
            cwd=self.project,
            env={"PATH": os.environ["PATH"], **settings, **self._settings},
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with urllib.request.urlopen(self.url, timeout=PATIENCE):  # noqa: S310
                    return
            except urllib.error.URLError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"the server does not answer: {error}") from error
                time.sleep(0.05)

    def kill(self) -> None:
        """End it without a warning, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def stop(self) -> None:
        """Stop as a deploy would stop it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(PATIENCE)
            self._process = None


@contextmanager
def serving(project: Path, settings: Mapping[str, str] | None = None) -> Iterator[AppServer]:
    """A server during the block, with settings beyond those that all servers have."""
    server = AppServer(project, settings)
    try:
        server.start()
        yield server
    finally:
        server.stop()
