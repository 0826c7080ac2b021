"""A process with many members of one room, which reports how late messages reach them.

    python -m tests.engine.soak.listeners PORT ROOM COUNT

It reads the name of a user from a line, and writes a line when all have joined. Then, for
each number that it reads from a line, it waits until every member has received as many
messages, and writes the 99th percentile of their latencies in milliseconds. The text of a
message begins with the time at which it was sent, as twenty digits (`time.monotonic_ns`).
"""

import asyncio
import gc
import sys
import time
from array import array
from collections.abc import Sequence

from uvicorn.loops.auto import auto_loop_factory

from tests.engine.soak.light import LightClient, open_light
from tests.support.auth import sign_in

TEXT_FIELD = b'"text":"'
DIGITS = 20


class Received:
    """What all members of this process have received."""

    def __init__(self) -> None:
        self.latencies = array("q")
        """Nanoseconds of each delivery since the last report."""
        self.joined = 0


class Listener(LightClient):
    def __init__(self, received: Received) -> None:
        super().__init__()
        self._received = received

    def on_text(self, payload: bytes) -> None:
        if payload.startswith(b'{"type":"message"'):
            start = payload.index(TEXT_FIELD) + len(TEXT_FIELD)
            sent_at = int(payload[start : start + DIGITS])
            self._received.latencies.append(time.monotonic_ns() - sent_at)
        elif payload.startswith(b'{"type":"joined"'):
            self._received.joined += 1


async def main(port: int, room: str, count: int) -> None:
    credentials = await sign_in(f"http://127.0.0.1:{port}", sys.stdin.readline().strip())
    received = Received()
    for _ in range(count):
        listener = await open_light(port, credentials, Listener(received))
        listener.send(type="join", room=room)
    while received.joined < count:
        await asyncio.sleep(0.01)
    gc.freeze()
    say("joined")
    while line := await asyncio.to_thread(sys.stdin.readline):
        due = int(line) * count
        while len(received.latencies) < due:
            await asyncio.sleep(0.1)
        say(str(percentile(received.latencies, 0.99) / 1e6))
        del received.latencies[:]


def percentile(values: Sequence[int], share: float) -> int:
    return sorted(values)[int(share * (len(values) - 1))]


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        runner.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
