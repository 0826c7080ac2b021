"""A process with a part of the clients. `python -m scripts.soak.crowd` reads from stdin.

The first line is a `Plan` as JSON, and each further line a command:

    reset COUNT    end as many random connections with a reset
    quiet SECONDS  stop publishing, wait until all clients are settled
    record         record that everything must have arrived
    audit          read the history of every room
    end FILE       disconnect, and write the history into a file

It writes a line for each command that it has carried out, and dies with its stdin.
"""

import asyncio
import gc
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import uvloop

from scripts.soak.client import RETRY_SECONDS, Client
from scripts.soak.history import NOBODY, Page, Problem, write
from scripts.soak.membership import Place, Recorder

PLAZA = "plaza"
"""The room that a tenth of the clients are in, beside their own."""

PUBLISHERS, PASSERS, STALLERS = 0.06, 0.05, 0.04
"""The shares of clients that publish, that come and go, and that stop reading at times."""

HANDSHAKES = 50

PATIENCE = 20.0
"""Seconds in which the history of a room has to be read."""


@dataclass(frozen=True)
class Plan:
    """What one process of clients does."""

    seed: int
    port: int
    clients: int
    first: int
    """The number of its first client."""
    rooms: int
    """How many rooms all clients share."""
    cookies: tuple[str, ...]
    addresses: int
    """From how many addresses of this machine the clients connect."""
    pause: float
    """Seconds between two messages of a publisher, on average."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))


class Crowd:
    """All clients of this process, and what they do."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._chance = Random(plan.seed)  # noqa: S311 - to be repeatable
        self._handshakes = asyncio.Semaphore(HANDSHAKES)
        self.recorder = Recorder()
        self.clients = [
            self._make_client(number) for number in range(plan.first, plan.first + plan.clients)
        ]
        self._roles: list[asyncio.Task[None]] = []
        self._runs: list[asyncio.Task[None]] = []

    def _make_client(self, number: int) -> Client:
        plan = self._plan
        place = Place(
            plan.port,
            f"127.0.{1 + number % plan.addresses}.1",
            plan.cookies[number % len(plan.cookies)],
            self._handshakes,
        )
        rooms = [f"room-{number % plan.rooms}"]
        if number % 10 == 0:
            rooms.append(PLAZA)
        chance = Random(plan.seed * 1_000_003 + number)  # noqa: S311
        return AuditingClient(number, place, rooms, self.recorder, chance)

    def start(self) -> None:
        """Connect, and do what the roles of the clients are."""
        for client in self.clients:
            self._runs.append(asyncio.create_task(client.run()))
            role = client.chance.random()
            if role < PUBLISHERS:
                self._roles.append(asyncio.create_task(self._publish(client)))
            elif role < PUBLISHERS + PASSERS:
                self._roles.append(asyncio.create_task(self._come_and_go(client)))
            elif role < PUBLISHERS + PASSERS + STALLERS:
                self._roles.append(asyncio.create_task(self._stall(client)))

    # --- Roles ----------------------------------------------------------------------

    async def _publish(self, client: Client) -> None:
        while True:
            await asyncio.sleep(client.chance.expovariate(1 / self._plan.pause))
            room, *others = client.rooms
            if others and client.chance.random() < 0.1:
                room = others[0]
            if client.chance.random() < 0.2:
                client.signal(room)
            else:
                client.publish(room)

    async def _come_and_go(self, client: Client) -> None:
        visits = 0
        while True:
            await asyncio.sleep(client.chance.uniform(2, 8))
            if not client.is_connected or client.socket is None:
                continue
            action = client.chance.choice(["leave", "enter", "open", "history", "disconnect"])
            rooms = list(client.rooms)
            if action == "leave" and len(rooms) > 1:
                client.leave(client.chance.choice(rooms))
            elif action == "enter" and len(rooms) < 5:
                client.join(f"room-{client.chance.randrange(self._plan.rooms)}")
            elif action == "open" and len(rooms) < 5:
                visits += 1
                client.join(f"visit-{client.number}-{visits}")
            elif action == "history" and client.rooms[rooms[0]].is_in:
                client.ask_for_history(rooms[0], None)
            elif action == "disconnect":
                client.socket.close()

    async def _stall(self, client: Client) -> None:
        while True:
            await asyncio.sleep(client.chance.uniform(5, 20))
            socket = client.socket
            if socket is not None:
                socket.stall()
                try:
                    await asyncio.sleep(client.chance.uniform(1, 10))
                finally:
                    socket.resume()

    # --- Commands -------------------------------------------------------------------

    def reset(self, count: int) -> None:
        """End random connections with a reset."""
        connected = [client for client in self.clients if client.is_connected]
        for client in self._chance.sample(connected, min(count, len(connected))):
            assert client.socket is not None
            client.socket.reset()

    async def quiet(self, seconds: float) -> int:
        """Stop publishing. Returns how many clients are not settled after some seconds."""
        for task in self._roles:
            task.cancel()
        await asyncio.gather(*self._roles, return_exceptions=True)
        give_up_at = time.monotonic() + seconds
        while True:
            unsettled = sum(not client.is_settled for client in self.clients)
            if not unsettled or time.monotonic() > give_up_at:
                return unsettled
            await asyncio.sleep(0.1)

    def record(self) -> None:
        for client in self.clients:
            if client.is_connected:
                client.be_quiet()

    async def audit(self) -> int:
        """Read the history of every room of which a client here is a member."""
        members = {
            room: client
            for client in self.clients
            for room, membership in client.rooms.items()
            if membership.is_in and isinstance(client, AuditingClient)
        }
        readings = (client.read_history(room) for room, client in members.items())
        await asyncio.gather(*readings)
        return len(members)

    async def end(self) -> None:
        await asyncio.gather(*(client.end() for client in self.clients))
        for task in self._runs:
            task.cancel()
        results = await asyncio.gather(*self._runs, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                now = time.monotonic()
                self.recorder.add(Problem(now, NOBODY, f"the soak itself failed: {result!r}"))

    def status(self) -> dict[str, object]:
        return {
            "connected": sum(client.is_connected for client in self.clients),
            "settled": sum(client.is_settled for client in self.clients),
            "refused": self.recorder.refused_handshakes,
        }


class AuditingClient(Client):
    """A client that can read all that a room remembers."""

    _answers: dict[str, asyncio.Queue[Page | None]] | None = None
    """By room: a page, or None for an error."""

    async def read_history(self, room: str) -> None:
        """Read page after page, from the newest on."""
        self._answers = self._answers or {}
        answers = self._answers[room] = asyncio.Queue()
        before: int | None = None
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    self.ask_for_history(room, before)
                    page = await answers.get()
                    if page is None:
                        await asyncio.sleep(self.chance.uniform(0.5, 1.5) * RETRY_SECONDS)
                    elif page.complete or not page.offsets:
                        return
                    else:
                        before = page.offsets[0]
        except TimeoutError:
            self._problem(f"the history of {room} was not answered")

    def on_page(self, page: Page) -> None:
        if self._answers is not None and page.room in self._answers:
            self._answers[page.room].put_nowait(page)

    def on_refusal(self, room: str) -> None:
        if self._answers is not None and room in self._answers:
            self._answers[room].put_nowait(None)


async def main() -> None:
    """Carry out the commands of stdin until it ends."""
    reader = asyncio.StreamReader(limit=1 << 24)
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    plan = json.loads(await reader.readline())
    crowd = Crowd(Plan(**{**plan, "cookies": tuple(plan["cookies"])}))
    crowd.start()
    while line := await reader.readline():
        command, *arguments = line.decode().split(maxsplit=1)
        answer: object = None
        match command:
            case "reset":
                crowd.reset(int(arguments[0]))
            case "quiet":
                answer = await crowd.quiet(float(arguments[0]))
            case "record":
                crowd.record()
            case "audit":
                answer = await crowd.audit()
            case "status":
                answer = crowd.status()
            case "end":
                await crowd.end()
                write(Path(arguments[0].strip()), crowd.recorder.operations)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    # Few of the objects that a history consists of are ever freed.
    gc.set_threshold(200_000, 50, 1000)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
