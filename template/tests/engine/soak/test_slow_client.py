"""One client of a thousand stops reading. The others do not notice, and its memory is freed."""

import asyncio
import os
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest

from tests.engine.soak.conftest import Measured, StartSoakServer
from tests.engine.soak.light import LightClient, open_light
from tests.engine.soak.server import SoakServer, cores
from tests.support.auth import sign_in
from tests.support.client import Credentials
from tests.support.server import PROJECT

pytestmark = pytest.mark.soak

CLIENTS = 1000
ROUNDS = 6
"""Rounds of each kind that count: the least disturbed."""
MOST_ROUNDS = 25
"""Rounds of each kind at most, if other processes disturb many."""
MESSAGES = 200
"""In a round."""
INTERVAL = 0.02
"""Seconds between two messages."""
TEXT = "x" * 2000
QUIET = 0.05
"""The share of a round for which its processes may have waited for others."""
OUTBOX_BYTES = 64 * 1024
"""Small enough for the stalled client to be closed within a round."""

LARGE_OUTBOX = 64 * 1024 * 1024
LARGE_TEXT = "x" * 4000

HISTORY_SIZE = 10
BALLAST_ROOM = "ballast"
BALLAST = 8 * 1024 * 1024
"""Bytes, which is twice what Linux buffers at most by default (`tcp_wmem`)."""


class Reader(LightClient):
    """Counts the messages."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.joined = asyncio.get_running_loop().create_future()

    def on_text(self, payload: bytes) -> None:
        if payload.startswith(b'{"type":"message"'):
            self.count += 1
        elif payload.startswith(b'{"type":"joined"') and not self.joined.done():
            self.joined.set_result(None)


class Round(NamedTuple):
    """The result of a round."""

    disturbance: float
    """The share of it for which the server and its clients waited for other processes."""
    p99: float
    """Milliseconds that all but 1 % of the deliveries took at most."""


async def test_other_clients_do_not_notice_a_slow_one(
    start_server: StartSoakServer, broker_url: str, room: str, measured: Measured
) -> None:
    for_server, for_clients = cores()
    server = await start_server(
        BROKER_URL=broker_url, OUTBOX_BYTES=OUTBOX_BYTES, HISTORY_SIZE=HISTORY_SIZE
    )
    os.sched_setaffinity(server.pid, for_server)
    credentials = await sign_in(server.url, "alice")
    without: list[Round] = []
    stalled: list[Round] = []
    memory = []
    async with (
        asyncio.timeout(400),
        running_on(for_clients),
        listening(server, "alice", room, CLIENTS - 2) as listeners,
        member(server, credentials, room) as publisher,
    ):
        pids = (server.pid, listeners.pid)
        await run_round(listeners, publisher, room, pids)  # a warm-up
        while len(without) < MOST_ROUNDS and not (are_quiet(without) and are_quiet(stalled)):
            async with member(server, credentials, room):
                without.append(await run_round(listeners, publisher, room, pids))
            memory.append(server.memory())
            async with stalling_member(server, credentials, room) as slow:
                stalled.append(await run_round(listeners, publisher, room, pids))
                await read_until_closed(slow)
    measured("p99 in ms without", in_words(without))
    measured("p99 in ms with one stalled", in_words(stalled))
    ratio = quiet_median(stalled) / quiet_median(without)
    measured("ratio of the medians of the quietest", ratio)
    measured("MB of memory after each pair", [round(size / 1e6, 1) for size in memory])
    assert are_quiet(without), "other processes disturbed too many rounds to say anything"
    assert are_quiet(stalled), "other processes disturbed too many rounds to say anything"
    assert ratio <= 1.1, (
        f"p99 is {ratio:.2f} of that without: {in_words(stalled)} and {in_words(without)}"
    )
    assert memory[-1] <= 1.05 * memory[0], f"memory grew: {memory}"


async def test_the_memory_of_a_slow_clients_outbox_is_freed(
    start_server: StartSoakServer, broker_url: str, room: str, measured: Measured
) -> None:
    server = await start_server(
        BROKER_URL=broker_url,
        OUTBOX_MESSAGES=0,
        OUTBOX_BYTES=LARGE_OUTBOX,
        HISTORY_SIZE=HISTORY_SIZE,
    )
    credentials = await sign_in(server.url, "alice")
    messages = 5 * LARGE_OUTBOX // 4 // len(LARGE_TEXT)
    async with asyncio.timeout(120), member(server, credentials, room) as publisher:
        await flood(publisher, room, messages)
        await server.trim()
        before = server.memory()
        most = 0
        async with stalling_member(server, credentials, room) as slow:
            while await server.metric("websocket_connections") > 1:
                await flood(publisher, room, messages // 20)
                most = max(most, server.memory())
            kept = server.memory()
            await server.trim()
            after = server.memory()
            await read_until_closed(slow)
    sizes = [round(size / 1e6, 1) for size in (before, most, kept, after)]
    measured("MB of memory before, at most, after, and trimmed", sizes)
    assert most - before >= LARGE_OUTBOX / 2, f"the outbox did not show in the memory: {sizes}"
    assert after <= 1.05 * before, f"the memory did not return to its level: {sizes} MB"


def are_quiet(rounds: list[Round]) -> bool:
    """Whether there are enough rounds that other processes did not disturb."""
    return sum(a_round.disturbance <= QUIET for a_round in rounds) >= ROUNDS


def quiet_median(rounds: list[Round]) -> float:
    """The median of the rounds that other processes disturbed least, in milliseconds."""
    return median(a_round.p99 for a_round in sorted(rounds)[:ROUNDS])


def in_words(rounds: list[Round]) -> str:
    """The rounds, the least disturbed first, with the share of time lost to other processes."""
    return ", ".join(f"{r.p99:.1f} ({100 * r.disturbance:.0f} %)" for r in sorted(rounds))


@asynccontextmanager
async def running_on(cores: set[int]) -> AsyncIterator[None]:
    """Keep this process, and those that it starts, to these cores during the block."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@asynccontextmanager
async def listening(server: SoakServer, user: str, room: str, count: int) -> AsyncIterator[Process]:
    """Members of a room in a process of their own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.engine.soak.listeners", str(server.port), room, str(count)),
        cwd=PROJECT,
        stdin=PIPE,
        stdout=PIPE,
    )
    try:
        await ask(process, user)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ask(process: Process, line: str) -> str:
    """Write a line to a process. Returns the line that it answers."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n".encode())
    answer = await process.stdout.readline()
    assert answer, "the listeners ended"
    return answer.decode()


@asynccontextmanager
async def member(
    server: SoakServer, credentials: Credentials, room: str, sock: socket.socket | None = None
) -> AsyncIterator[Reader]:
    client = await open_light(server.port, credentials, Reader(), sock)
    try:
        client.send(type="join", room=room)
        await client.joined
        yield client
    finally:
        client.abort()
        await client.closed


@asynccontextmanager
async def stalling_member(
    server: SoakServer, credentials: Credentials, room: str
) -> AsyncIterator[Reader]:
    """A member that has stopped reading, and for which the kernel's buffers are full.

    How much they hold depends on the kernel. So the member first asks for more history than
    they ever hold, which does not count against its outbox.
    """
    narrow = socket.socket()
    narrow.setblocking(False)
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    # The other side's send buffer grows with it (`man 7 tcp`).
    narrow.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    async with member(server, credentials, room, narrow) as slow:
        slow.send(type="join", room=BALLAST_ROOM)
        await flood(slow, BALLAST_ROOM, HISTORY_SIZE)
        for _ in range(BALLAST // (HISTORY_SIZE * len(LARGE_TEXT))):
            slow.send(type="history", room=BALLAST_ROOM)
        assert slow.transport is not None
        slow.transport.pause_reading()
        yield slow


async def read_until_closed(slow: Reader) -> None:
    """Check that a client that reads on receives what was buffered, and then code 1013."""
    assert slow.transport is not None
    slow.transport.resume_reading()
    await asyncio.wait([slow.closed], timeout=10)
    assert slow.close_code == 1013, f"closed with {slow.close_code} after {slow.count} messages"


async def run_round(
    listeners: Process, publisher: Reader, room: str, pids: tuple[int, int]
) -> Round:
    """Publish a round of messages, and ask the listeners for their latency."""
    loop = asyncio.get_running_loop()
    waited = sum(map(seconds_waited, pids))
    p99_task = asyncio.create_task(ask(listeners, str(MESSAGES)))
    due = loop.time()
    for _ in range(MESSAGES):
        sent_at = time.monotonic_ns()
        publisher.publish(room, str(sent_at), f"{sent_at:020} {TEXT}")
        due += INTERVAL
        await asyncio.sleep(due - loop.time())
    p99 = float(await p99_task)
    waited = sum(map(seconds_waited, pids)) - waited
    return Round(waited / (MESSAGES * INTERVAL), p99)


def seconds_waited(pid: int) -> float:
    """How long a process was ready to run while another had its core."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


async def flood(publisher: Reader, room: str, messages: int) -> None:
    """Publish as fast as the publisher receives its messages."""
    start = publisher.count
    for number in range(messages):
        publisher.publish(room, str(time.monotonic_ns()), LARGE_TEXT)
        while start + number - publisher.count > 50:
            await asyncio.sleep(0.001)
    while publisher.count < start + messages:
        await asyncio.sleep(0.001)
