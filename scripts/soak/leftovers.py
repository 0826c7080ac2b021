"""What a server has left when all clients are gone."""

import time
from dataclasses import dataclass

from scripts.soak.servers import Application, RedisServer

PATIENCE = 20.0
"""Seconds in which the workers have to notice that their clients are gone."""

EXPIRY_MARGIN = 3.0
"""Redis removes expired keys by itself; a few seconds later, none is seen any more."""

POOL = 5
"""Connections to the database that a worker keeps (SQLAlchemy's default)."""

KEPT = ("position:", "positions", "epoch", "canary")
"""What may be kept: where each room stands, for a week, and three keys in all."""


@dataclass
class Left:
    """What is there, beside what had to be."""

    what: str
    found: object
    is_fine: bool


class Leftovers:
    """Compares a server with what it was before its first client."""

    def __init__(self, app: Application, redis: RedisServer) -> None:
        self._app = app
        self._redis = redis
        self._before = app.observe()

    def look(self, history_seconds: int, published_in: set[str]) -> list[Left]:
        """Look for what is left. Waits until the history of all rooms has expired."""
        ended_at = time.monotonic()
        left = [
            self._metric("websocket_connections", "open sockets by the metric"),
            self._metric("websocket_rooms", "rooms with members by the metric"),
            self._of_workers("tasks", "asyncio tasks of a worker"),
            self._of_workers("sockets", "sockets of a worker, with its database pool", POOL),
            self._channels(),
        ]
        time.sleep(max(0.0, ended_at + history_seconds + EXPIRY_MARGIN - time.monotonic()))
        return left + self._keys(published_in)

    def _metric(self, name: str, what: str) -> Left:
        give_up_at = time.monotonic() + PATIENCE
        while (value := self._app.metric(name)) != 0 and time.monotonic() < give_up_at:
            time.sleep(0.2)
        return Left(what, value, value == 0)

    def _of_workers(self, name: str, what: str, more: int = 0) -> Left:
        most = max(answer[name] for answer in self._before.values()) + more
        give_up_at = time.monotonic() + PATIENCE
        while True:
            found = [answer[name] for answer in self._app.observe().values()]
            is_fine = bool(found) and max(found) <= most
            if is_fine or time.monotonic() > give_up_at:
                return Left(f"{what} (at most {most})", max(found, default=0), is_fine)
            time.sleep(0.5)

    def _channels(self) -> Left:
        answer = self._redis.ask("PUBSUB", "CHANNELS", "*:room:*")
        channels = answer if isinstance(answer, list) else ["no answer"]
        return Left("rooms that workers are subscribed to", len(channels), not channels)

    def _keys(self, published_in: set[str]) -> list[Left]:
        answer = self._redis.ask("KEYS", "*")
        keys = [str(key) for key in answer] if isinstance(answer, list) else ["no answer"]
        names = [key.split(":", 2)[-1] for key in keys]  # without the project and the database
        positions = [name for name in names if name.startswith(KEPT[0])]
        rooms = {name.removeprefix("position:room:") for name in positions}
        others = [name for name in names if not name.startswith(KEPT)]
        forever = [
            key
            for key, name in zip(keys, names, strict=True)
            if name.startswith("position:") and self._redis.ask("TTL", key) == -1
        ]
        strange = sorted(rooms - published_in)
        return [
            Left("Redis keys other than positions", others[:5] or 0, not others),
            Left("positions in Redis of rooms nobody published in", strange[:5] or 0, not strange),
            Left("positions in Redis that never expire", forever[:5] or 0, not forever),
            Left(f"positions in Redis (of {len(published_in)} rooms)", len(positions), True),
        ]
