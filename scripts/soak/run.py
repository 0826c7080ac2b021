"""Runs a soak from the rendering of the project to the verdict."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.soak.checker import Promises, check, summary
from scripts.soak.crowd import Plan
from scripts.soak.faults import Injector, plan
from scripts.soak.history import Operation, Publish, read, write
from scripts.soak.leftovers import Leftovers
from scripts.soak.memory import Sampler
from scripts.soak.project import make_application, make_logins, make_project
from scripts.soak.report import Findings
from scripts.soak.servers import (
    Application,
    PostgresServer,
    RedisServer,
    Server,
    allow_many_sockets,
)
from tests.template import ROOT

CROWDS = 2
SOCKETS_PER_ROOM = 25
SOCKETS_PER_USER = 40
SOCKETS_PER_ADDRESS = 200
SETTLE_SECONDS = 60.0
LAG_SECONDS = 2.0
"""How long clients stay when all publishes are answered."""

FAILURES = ("Traceback", "Task was destroyed", "was never retrieved")


@dataclass(frozen=True)
class Options:
    seconds: int
    sockets: int
    seed: int
    pause: float
    """Seconds between two messages of a publisher, on average."""
    template: Path | None = None
    """A snapshot of the template, if there is one already."""

    @property
    def spacing(self) -> float:
        """Seconds between two faults."""
        return min(20.0, max(3.0, self.seconds / 10))

    @property
    def history_seconds(self) -> int:
        """Short enough that the memory of Redis is level for most of the run."""
        return min(60, max(10, self.seconds // 2))


class Crowd:
    """A process of clients, and the conversation with it."""

    def __init__(self, plan_: Plan, log: Path) -> None:
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scripts.soak.crowd"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                process_group=0,
                text=True,
            )
        self._log = log
        self.tell(plan_.to_json())

    def tell(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()

    def hear(self) -> object:
        """The answer to a command. Raises RuntimeError if the process has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process of clients has ended:\n{self._log.read_text()[-2000:]}")
        return json.loads(line)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Crowds:
    """All processes of clients."""

    def __init__(self, crowds: list[Crowd]) -> None:
        self._crowds = crowds

    def ask(self, command: str) -> list[object]:
        """Have all carry out a command at the same time."""
        for crowd in self._crowds:
            crowd.tell(command)
        return [crowd.hear() for crowd in self._crowds]

    def settled(self) -> int:
        """How many clients are in all their rooms."""
        return sum(int(it["settled"]) for it in self.ask("status") if isinstance(it, dict))

    def end(self, folder: Path) -> list[Path]:
        """Disconnect all. Returns the files with their histories."""
        files = [folder / f"history-{number}.jsonl" for number in range(len(self._crowds))]
        for crowd, file in zip(self._crowds, files, strict=True):
            crowd.tell(f"end {file}")
        for crowd in self._crowds:
            crowd.hear()
        return files


def run(options: Options, folder: Path) -> Findings:
    """Run a soak, whose files go into a folder. Everything that it started ends with it."""
    allow_many_sockets(options.sockets)
    folder.chmod(0o711)  # PostgreSQL runs as somebody else
    say("rendering the project")
    project = make_project(folder, options.template)
    with ExitStack() as stack:
        redis, postgres = RedisServer(folder / "redis"), PostgresServer(folder / "postgres")
        app = make_application(project, redis, postgres, options.history_seconds)
        for server in (app, redis, postgres):
            stack.callback(server.kill)
        redis.start()
        postgres.start()
        say("making accounts")
        cookies = make_logins(app, max(2, options.sockets // SOCKETS_PER_USER))
        app.start()
        leftovers = Leftovers(app, redis)
        crowds = stack.enter_context(crowds_of(options, app, cookies, folder))
        wait_until_settled(crowds, options.sockets)
        with Sampler([app, redis]) as sampler:
            injector = load(options, crowds, app, redis, postgres)
            say("waiting until all is quiet")
            unsettled = crowds.ask(f"quiet {SETTLE_SECONDS}")
            time.sleep(LAG_SECONDS)
            crowds.ask("record")
            crowds.ask("audit")
            status = crowds.ask("status")
        say(f"{unsettled} clients are not settled")
        files = crowds.end(folder)
        write(folder / "history-faults.jsonl", injector.history)
        operations: list[Operation] = [*injector.history]
        for file in files:
            operations += read(file)
        published_in = {it.room for it in operations if isinstance(it, Publish)}
        say("looking for what is left behind")
        left = leftovers.look(options.history_seconds, published_in)
        exit_code = app.stop()
        say("checking the history")
        promises = Promises(history_seconds=options.history_seconds)
        verdict = check(operations, promises)
    log = app.log.read_text(errors="replace").splitlines()
    return Findings(
        seconds=options.seconds,
        sockets=options.sockets,
        seed=options.seed,
        history_seconds=options.history_seconds,
        counts=summary(operations),
        refused_handshakes=refusals(status),
        faults=injector.history,
        verdict=verdict,
        memory=list(sampler.series.values()),
        left=left,
        exit_code=exit_code,
        log_failures=[line for line in log if any(word in line for word in FAILURES)],
    )


@contextmanager
def crowds_of(
    options: Options, app: Application, cookies: list[str], folder: Path
) -> Iterator[Crowds]:
    """The clients, for the length of the block."""
    crowds: list[Crowd] = []
    # Whatever happens, the run ends: without its clients, it fails.
    bound = 2 * options.seconds + 300 + options.sockets / 20

    def kill_all() -> None:
        for crowd in crowds:
            crowd.kill()

    timer = threading.Timer(bound, kill_all)
    timer.daemon = True
    timer.start()
    size = options.sockets // CROWDS
    try:
        for number in range(CROWDS):
            plan_ = Plan(
                seed=options.seed,
                port=app.port,
                clients=size,
                first=number * size,
                rooms=max(4, options.sockets // SOCKETS_PER_ROOM),
                cookies=tuple(cookies),
                addresses=max(2, options.sockets // SOCKETS_PER_ADDRESS),
                pause=options.pause,
            )
            crowds.append(Crowd(plan_, folder / f"crowd-{number}.log"))
        yield Crowds(crowds)
    finally:
        timer.cancel()
        kill_all()


def wait_until_settled(crowds: Crowds, sockets: int) -> None:
    """Raises RuntimeError if the clients do not get in."""
    give_up_at = time.monotonic() + SETTLE_SECONDS + sockets / 50
    while (settled := crowds.settled()) < 0.98 * (sockets // CROWDS * CROWDS):
        if time.monotonic() > give_up_at:
            raise RuntimeError(
                f"only {settled} of {sockets} clients got in: {crowds.ask('status')}"
            )
        time.sleep(0.5)
    say(f"{settled} clients are in their rooms")


def load(
    options: Options,
    crowds: Crowds,
    app: Application,
    redis: RedisServer,
    postgres: PostgresServer,
) -> Injector:
    """Let the clients work, and inject faults meanwhile."""

    def reset(share: float) -> None:
        crowds.ask(f"reset {int(share * options.sockets / CROWDS)}")

    injector = Injector(options.seed, app, redis, postgres, reset)
    started = time.monotonic()
    for planned in plan(options.seed, options.seconds, options.spacing):
        wait_until(started + planned.at, [app, redis, postgres])
        lasts = f" for {planned.seconds:.1f} s" if planned.seconds else ""
        say(
            f"{time.monotonic() - started:6.1f} s: {planned.kind}{lasts}; "
            f"{crowds.settled()} clients are settled"
        )
        injector.inject(planned)
    wait_until(started + options.seconds, [app, redis, postgres])
    return injector


def wait_until(at: float, servers: list[Server]) -> None:
    """Sleep. Raises RuntimeError if a server ended by itself."""
    while (left := at - time.monotonic()) > 0:
        for server in servers:
            if server.process is not None and server.process.poll() is not None:
                tail = server.log.read_text(errors="replace")[-3000:]
                raise RuntimeError(f"{server.name} ended by itself:\n{tail}")
        time.sleep(min(0.5, left))


def refusals(status: list[object]) -> Counter[str]:
    """Refused handshakes of all crowds, by reason."""
    total: Counter[str] = Counter()
    for it in status:
        if isinstance(it, dict):
            total.update(it["refused"])
    return total


def say(sentence: str) -> None:
    print(f"soak: {sentence}", flush=True)
