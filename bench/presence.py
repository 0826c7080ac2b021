"""What presence costs in rooms and clusters that two cores can't run.

Runs the generated application's own tracker, one for each worker, on a clock that does not
wait, and counts the bytes of what it sends. `uv run --project bench bench/presence.py` prints
the table of docs/decisions/0006-presence-is-announced.md.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from run import render_app

ROOMS = (10, 100, 1_000, 10_000)
"""Members."""

WORKERS = (1, 4, 20)

STAY = 300.0
"""Seconds that a member stays, on average. Somebody else comes for everybody who leaves."""

PERIOD = 20.0
"""The setting PING_INTERVAL, and PRESENCE_MEMBERS below: the defaults."""

MEMBERS_TOLD = 100

WARM_UP, LEAST = 30.0, 120.0
"""Seconds of the clock."""

CHANGES = 500
"""At least so many members leave while it is measured."""


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to whatever is due next."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        loop: Any = self
        if not loop._ready and loop._scheduled:
            self._now = max(self._now, loop._scheduled[0]._when)
        loop_of_asyncio: Any = super()
        loop_of_asyncio._run_once()


class Broker:
    """A broker of all workers, which counts what is published."""

    def __init__(self) -> None:
        self.published = 0
        """Bytes."""
        self.subscribers: list[asyncio.Queue[Any]] = []

    @asynccontextmanager
    async def subscribe(self, channel: str) -> AsyncIterator[asyncio.Queue[Any]]:
        del channel
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self.subscribers.append(queue)
        yield queue

    async def publish(self, channel: str, message: str) -> None:
        from broadcaster import Event  # noqa: PLC0415

        self.published += len(message.encode())
        for queue in self.subscribers:
            queue.put_nowait(Event(channel, message))


class Cost(NamedTuple):
    """Bytes a second."""

    to_each_member: float
    between_workers: float
    """Published by all workers together; each of them receives it all."""


async def simulate(members: int, workers: int) -> Cost:
    """A room in which members come and go."""
    from app.realtime.frames import encode  # noqa: PLC0415
    from app.realtime.identity import User  # noqa: PLC0415
    from app.realtime.presence import PresenceTracker  # noqa: PLC0415

    broker: Any = Broker()
    here = [0] * workers  # members on each worker
    told = 0

    def person() -> User:
        return User(id=f"{random.getrandbits(64):016x}", name=f"name {random.getrandbits(16):05}")

    async with AsyncExitStack() as stack:
        trackers = []
        for number in range(workers):

            def tell(presence: Any, number: int = number) -> None:
                nonlocal told
                told += here[number] * len(encode(presence).wire)

            tracker = PresenceTracker(broker, PERIOD, MEMBERS_TOLD, tell)
            await stack.enter_async_context(tracker.running())
            trackers.append(tracker)
        present = []

        def join(number: int) -> None:
            user = person()
            trackers[number].join("room", [user])
            here[number] += 1
            present.append((number, user))

        def leave(index: int) -> None:
            number, user = present.pop(index)
            trackers[number].leave("room", user)
            here[number] -= 1

        for number in range(members):
            join(number % workers)
        await asyncio.sleep(WARM_UP)
        seconds = max(LEAST, CHANGES * STAY / members)
        end = asyncio.get_running_loop().time() + seconds
        told = broker.published = 0
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(random.expovariate(members / STAY))
            leave(random.randrange(members))  # noqa: S311
            join(random.randrange(workers))  # noqa: S311
        return Cost(told / members / seconds, broker.published / seconds)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--app", type=Path, help="a generated project, if not a new one")
    app = options.parse_args().app
    random.seed(1)
    with tempfile.TemporaryDirectory() as folder:
        sys.path.insert(0, str(app or render_app(Path(folder) / "app")))
        print("| members | workers | to each member | between workers | for each member |")
        print("| ---: | ---: | ---: | ---: | ---: |")
        for members in ROOMS:
            for workers in WORKERS:
                with asyncio.Runner(loop_factory=Clock) as runner:
                    cost = runner.run(simulate(members, workers))
                between = cost.between_workers
                print(
                    f"| {members:,} | {workers} | {cost.to_each_member:.1f} | {between:,.0f} "
                    f"| {between / members:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
