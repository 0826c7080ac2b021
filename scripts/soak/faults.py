"""Faults: which comes when, by a seed, and how each is carried out."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from scripts.soak.history import NOBODY, Fault
from scripts.soak.servers import Application, PostgresServer, RedisServer

WORKER_KILL = "worker-kill"
WORKER_STOP = "worker-stop"
REDIS_KILL = "redis-kill"
REDIS_LOSS = "redis-loss"
REDIS_STOP = "redis-stop"
DATABASE_KILL = "database-kill"
BOTH_KILL = "worker-and-database-kill"
RESETS = "resets"

DESCRIPTIONS = {
    WORKER_KILL: "kill -9 of a worker",
    WORKER_STOP: "SIGSTOP of a worker",
    REDIS_KILL: "kill -9 of Redis, started again with its data",
    REDIS_LOSS: "kill -9 of Redis, started again without its data",
    REDIS_STOP: "SIGSTOP of Redis",
    DATABASE_KILL: "kill -9 of PostgreSQL, and resets while it is away",
    BOTH_KILL: "kill -9 of PostgreSQL, and of a worker while it is away",
    RESETS: "a tenth of the connections reset",
}

LONGEST = 4.0
"""Seconds. After five, uvicorn replaces a worker that does not answer."""

RESET_SHARE, RESET_SHARE_IN_OUTAGE = 0.1, 0.02


@dataclass(frozen=True)
class Planned:
    """A fault that is to come."""

    at: float
    """Seconds after the load has begun."""
    kind: str
    seconds: float
    """How long it lasts."""


def plan(seed: int, seconds: float, spacing: float) -> list[Planned]:
    """The faults of a run: every kind comes once before any comes again."""
    chance = Random(seed)  # noqa: S311 - to be repeatable
    planned: list[Planned] = []
    kinds: list[str] = []
    at = spacing
    while at < seconds - spacing:
        if not kinds:
            kinds = chance.sample(sorted(DESCRIPTIONS), len(DESCRIPTIONS))
        kind = kinds.pop()
        lasts = 0.0 if kind in {WORKER_KILL, RESETS} else chance.uniform(1, LONGEST)
        planned.append(Planned(at, kind, lasts))
        at += lasts + spacing * chance.uniform(0.8, 1.2)
    return planned


class Injector:
    """Carries out faults, and records them."""

    def __init__(
        self,
        seed: int,
        app: Application,
        redis: RedisServer,
        postgres: PostgresServer,
        reset: Callable[[float], None],
    ) -> None:
        """`reset` resets a share of all connections."""
        self._chance = Random(seed)  # noqa: S311
        self._app = app
        self._redis = redis
        self._postgres = postgres
        self._reset = reset
        self.history: list[Fault] = []

    def inject(self, planned: Planned) -> None:
        """Carry out a fault. It is over when this returns."""
        self.history.append(Fault(time.monotonic(), NOBODY, planned.kind, planned.seconds))
        match planned.kind:
            case "worker-kill":
                os.kill(self._some_worker(), signal.SIGKILL)
            case "worker-stop":
                self._pause(self._some_worker(), planned.seconds)
            case "redis-kill" | "redis-loss":
                self._redis.kill()
                if planned.kind == REDIS_LOSS:
                    self._redis.forget()
                time.sleep(planned.seconds)
                self._redis.start()
            case "redis-stop":
                self._pause(self._redis.pid, planned.seconds)
            case "database-kill":
                self._postgres.kill()
                self._reset(RESET_SHARE_IN_OUTAGE)
                time.sleep(planned.seconds)
                self._postgres.start()
            case "worker-and-database-kill":
                self._postgres.kill()
                os.kill(self._some_worker(), signal.SIGKILL)
                time.sleep(planned.seconds)
                self._postgres.start()
            case "resets":
                self._reset(RESET_SHARE)

    def _some_worker(self) -> int:
        return self._chance.choice(self._app.workers())

    @staticmethod
    def _pause(pid: int, seconds: float) -> None:
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            with suppress(ProcessLookupError):  # uvicorn may have replaced the worker
                os.kill(pid, signal.SIGCONT)
