"""Subscribe to many rooms on the broker of BROKER_URL, and unsubscribe. Prints the costs as JSON.

It is run by a project's interpreter, in the project's folder. Reads the ids of the broker's
processes from the arguments.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import uvloop
from app.realtime.broker import BrokerUnavailable, create_backend

ROOMS = 5000
AT_ONCE = 50
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_of(pids: list[str]) -> float:
    """Seconds of CPU that processes have used, of those that still run."""
    stats = [it for it in (Path(f"/proc/{pid}/stat") for pid in pids) if it.exists()]
    fields = [it.read_text().rpartition(")")[2].split() for it in stats]
    return sum(int(it[11]) + int(it[12]) for it in fields) / TICKS


async def main() -> None:
    backend = create_backend(os.environ["BROKER_URL"], 1000, 3600, 64 * 2**20)
    await backend.connect()
    while not backend.alive:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    names = [f"room:{number}" for number in range(ROOMS)]
    at_once = asyncio.Semaphore(AT_ONCE)

    async def enter(name: str) -> None:
        async with at_once:
            await backend.listen(name, print)
            while True:
                try:
                    await backend.history(name, last=50)
                except BrokerUnavailable:
                    await asyncio.sleep(0.01)
                else:
                    return

    async def leave(name: str) -> None:
        async with at_once:
            await backend.ignore(name)

    report = {}
    for what, step in (("enter", enter), ("leave", leave)):
        started, worker, broker = time.monotonic(), time.process_time(), cpu_of(sys.argv[1:])
        await asyncio.gather(*map(step, names))
        report[what] = {
            "seconds": round(time.monotonic() - started, 3),
            "cpu_us": round(1e6 * (time.process_time() - worker) / ROOMS, 1),
            "broker_cpu_us": round(1e6 * (cpu_of(sys.argv[1:]) - broker) / ROOMS, 1),
        }
    await backend.disconnect()
    print(json.dumps(report))


if __name__ == "__main__":
    uvloop.run(main())
