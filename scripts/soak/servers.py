"""The servers of a soak: Redis, PostgreSQL and the application. Each can be killed and paused."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from scripts.soak.processes import PATIENCE, Server, StartError, children, command_line
from tests.postgres_server import FOLDER_VARIABLE, copy_postgres, postgres_folders
from tests.servers import servers_folder


class RedisServer(Server):
    """A Redis that loses nothing when it is killed: it writes to disk before it answers."""

    def __init__(self, folder: Path) -> None:
        super().__init__("redis", folder)
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        binary = servers_folder() / "redis-server"
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "dir": str(self.folder),
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self.spawn([binary, *arguments])
        self.wait_until(lambda: self.ask("PING") == "PONG")

    def forget(self) -> None:
        """Remove all data while it is not running."""
        shutil.rmtree(self.folder)
        self.folder.mkdir()

    def ask(self, *command: str) -> object:
        """Send a command. Returns the answer, or None if there is none."""
        request = f"*{len(command)}\r\n" + "".join(f"${len(it)}\r\n{it}\r\n" for it in command)
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as sock:
                sock.sendall(request.encode())
                with sock.makefile("rb") as answer:
                    return read_answer(answer.readline, answer.read)
        except (OSError, ValueError):
            return None


def read_answer(read_line: Callable[[], bytes], read: Callable[[int], bytes]) -> object:
    """Read an answer in the protocol of Redis (RESP2). Raises ValueError."""
    line = read_line().decode()
    if not line:
        raise ValueError("no answer")
    kind, text = line[0], line[1:].rstrip("\r\n")
    match kind:
        case "+":
            return text
        case ":":
            return int(text)
        case "$":
            return read(int(text) + 2)[:-2].decode() if int(text) >= 0 else None
        case "*":
            return [read_answer(read_line, read) for _ in range(int(text))]
        case _:
            raise ValueError(text)


class PostgresServer(Server):
    """A PostgreSQL with an empty database."""

    def __init__(self, folder: Path) -> None:
        super().__init__("postgres", folder)
        self.url = f"postgresql+asyncpg://soak@127.0.0.1:{self.port}/postgres"
        # It refuses to run as root, and nobody else may look into root's folders.
        self._user = "nobody" if os.geteuid() == 0 else None
        if not postgres_folders():
            binaries = folder.parent / "postgres-binaries"
            binaries.mkdir()
            copy_postgres(binaries)
            os.environ[FOLDER_VARIABLE] = str(binaries)
        self._bin = postgres_folders()[0]

    def start(self) -> None:
        """Start. The first time, make the database."""
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        if not (self.folder / "data").exists():
            initdb: list[str | Path] = [
                self._bin / "initdb",
                "--auth=trust",
                "--username=soak",
                "--encoding=UTF8",
            ]
            with self.log.open("ab") as log:
                subprocess.run(
                    [*initdb, "--no-sync", "--pgdata=data"],
                    cwd=self.folder,
                    user=self._user,
                    stdout=log,
                    stderr=log,
                    check=True,
                )
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        options += ["-c", "max_connections=200"]
        give_up_at = time.monotonic() + PATIENCE
        while True:
            self.spawn(
                [self._bin / "postgres", "-D", "data", "-p", str(self.port), *options],
                user=self._user,
            )
            try:
                self.wait_until(self._answers)
            except StartError:
                # Processes of the one that was killed may not have ended yet.
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(0.2)
            else:
                return

    def _answers(self) -> bool:
        # The startup message of protocol 3.0: it is answered once queries are.
        startup = b"\0\3\0\0user\0soak\0database\0postgres\0\0"
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as sock:
                sock.sendall((len(startup) + 4).to_bytes(4, "big") + startup)
                return sock.recv(1) == b"R"
        except OSError:
            return False


class Application(Server):
    """The rendered project, as `python -m app` serves it."""

    def __init__(self, project: Path, environment: dict[str, str]) -> None:
        super().__init__("app", project)
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {**environment, "PORT": str(self.port), "PYTHONUNBUFFERED": "1"}
        self.workers_expected = int(environment["WEB_CONCURRENCY"])

    @property
    def environment(self) -> dict[str, str]:
        return self._environment

    def start(self) -> None:
        self.spawn([sys.executable, "-m", "app"], self._environment)
        self.wait_until(lambda: self.get("/readyz")[0] == 200)
        self.wait_until(lambda: len(self.observe()) == self.workers_expected)

    def stop(self) -> int | None:
        """Send SIGTERM, as a deploy would. Returns the exit code, None if it had to be killed."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            return None

    def workers(self) -> list[int]:
        """The process ids of the workers."""
        return [pid for pid in children(self.pid) if b"spawn_main" in command_line(pid)]

    def get(self, path: str) -> tuple[int, str]:
        """The status and the body of an answer; 0 if there is none."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""
        except (OSError, ValueError):
            return 0, ""

    def observe(self) -> dict[int, dict[str, int]]:
        """What each worker says of itself. Some may be missing: any of them answers."""
        answers: dict[int, dict[str, int]] = {}
        for _ in range(50):
            status, body = self.get("/soak")
            if status == 200:
                answer = json.loads(body)
                answers[answer["pid"]] = answer
            if len(answers) == self.workers_expected:
                break
        return answers

    def metric(self, name: str) -> float | None:
        """The value of a metric without labels, over all workers."""
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        return None
