"""Whatever happens to clients and broker, members see the sequence of their room.

Hypothesis plays clients that join, leave, publish, stall, vanish and return, and
outages, on the real manager, and compares what every client was sent with a model: for
each room a list of messages. More examples, and other ones each time:
`HYPOTHESIS_PROFILE=long uv run pytest -k model`.
"""

import asyncio
import json
import os
import random
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from struct import unpack_from
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from starlette.types import Message

from app.realtime.identity import User
from app.realtime.broker import Backend, BrokerUnavailable, History, Publication, Record, Resubscribed
from app.realtime.broker.memory import MemoryBackend
from app.realtime.connection import Connection
from app.realtime.manager import ConnectionManager
from app.realtime.protocol import ClientMessage, Frames, Join, Leave, Position, Publish
from app.settings import Settings
from tests.support.client import JSON

HISTORY, RECENT = 6, 2
"""Messages that a room remembers, and that a newcomer gets: few, so that to miss more is easy."""

PATIENCE = 10.0
"""Seconds that everything may take which is on its way."""

SETTINGS = Settings(outbox_messages=20, messages_per_second=0, ping_interval=60)

COMMON = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
settings.register_profile(
    "short",
    COMMON,
    derandomize=True,
    max_examples=150,
    stateful_step_count=40,
    phases=[Phase.generate],  # shrinking takes long, where each failure is one to wait for
)
settings.register_profile("long", COMMON, max_examples=1000, stateful_step_count=60)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "short")


class Peer:
    """The other end of a socket: a `FrameWriter` that keeps what is written."""

    def __init__(self) -> None:
        self.on_change: Any = None
        self.is_writable = True
        self.raw_transport: Any = self
        self.unread: deque[JSON] = deque()

    def is_closing(self) -> bool:
        return False

    def write_frames(self, frames: Frames) -> None:
        assert self.is_writable
        self.unread.extend(json.loads(payload) for payload in frames.payloads)

    def write(self, wire: bytes) -> None:
        """Read frames, which are none of the largest."""
        assert self.is_writable
        start = 0
        while start < len(wire):
            size, start = wire[start + 1], start + 2
            if size == 126:
                (size,) = unpack_from("!H", wire, start)
                start += 2
            self.unread.append(json.loads(wire[start : start + size]))
            start += size

    def stall(self, *, stalled: bool) -> None:
        """Take nothing more, or all that waits."""
        self.is_writable = not stalled
        if self.on_change is not None:
            self.on_change()

    async def close_socket(self, code: int, reason: str) -> None:
        """Nobody reads it."""


class Log:
    """What was published in a room in one epoch."""

    def __init__(self) -> None:
        self.epoch: str | None = None
        self.ids: list[str] = []


class Place:
    """Up to where a client has read a room."""

    def __init__(self, epoch: str, offset: int) -> None:
        self.epoch = epoch
        self.offset = offset


class Model:
    """What was published, in each room and epoch."""

    def __init__(self) -> None:
        self._logs: dict[str, list[Log]] = {}

    def logs(self, room: str) -> list[Log]:
        return self._logs.setdefault(room, [Log()])

    def current(self, room: str) -> Log:
        return self.logs(room)[-1]

    def epoch(self, room: str, epoch: str, offset: int) -> Log:
        """The log of an epoch that has so many messages. A new name is that of the current one."""
        log = next((one for one in self.logs(room) if one.epoch == epoch), self.current(room))
        assert log.epoch in {None, epoch}, "an epoch began without a reason"
        assert offset <= len(log.ids)
        if offset > 0:  # an empty epoch may be forgotten before anybody hears of it
            log.epoch = epoch
        return log

    def is_end_of(self, room: str, place: Place) -> bool:
        """Whether there is no more to read in a room."""
        current = self.current(room)
        if not current.ids:  # nobody may know of the new epoch yet
            return True
        return current.epoch == place.epoch and len(current.ids) == place.offset

    def publish(self, room: str, name: str) -> None:
        log = self.current(room)
        if name not in log.ids[-HISTORY:]:
            log.ids.append(name)

    def forget(self) -> None:
        """From now on, other epochs begin."""
        for logs in self._logs.values():
            logs.append(Log())


class Client:
    """A user who reads everything, and remembers up to where."""

    def __init__(self, manager: ConnectionManager, model: Model, name: str) -> None:
        self._manager = manager
        self._model = model
        self._user = User(name=name)
        self._since: deque[JSON | None] = deque()
        self._serving: asyncio.Task[None] | None = None
        self.places: dict[str, Place] = {}
        self.was_in: dict[str, Place] = {}

    # --- What it does -------------------------------------------------------------

    def connect(self) -> None:
        self.peer = Peer()
        self.connection = Connection(self._user, SETTINGS, self.peer)
        self._received: asyncio.Queue[Message] = asyncio.Queue()
        self._serving = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        """As `/ws` does."""
        try:
            await self.connection.serve(self._received.get, _send_nothing, self._handle)
        finally:
            await self._manager.disconnect(self.connection)

    async def _handle(self, message: ClientMessage) -> None:
        match message:
            case Join():
                await self._manager.join(self.connection, message)
            case Leave():
                await self._manager.leave(self.connection, message.room)
            case Publish():
                await self._manager.publish(self.connection, message)

    def send(self, **message: object) -> None:
        self._received.put_nowait({"type": "websocket.receive", "text": json.dumps(message)})

    def join(self, room: str, *, recover: bool) -> None:
        place = self.places.get(room) or self.was_in.get(room)
        since = None
        if recover and place is not None:
            since = {"epoch": place.epoch, "offset": place.offset}
        self._since.append(since)
        self.send(type="join", room=room, **({"since": since} if since else {}))

    @property
    def is_idle(self) -> bool:
        return self._received.empty() and not self.connection.unanswered

    @property
    def is_gone(self) -> bool:
        """Whether the server closed the socket."""
        return self._serving is None or self._serving.done()

    async def disconnect(self, unread: int) -> None:
        """Vanish. The last `unread` frames are lost on their way."""
        self.read(max(0, len(self.peer.unread) - unread))
        self._received.put_nowait({"type": "websocket.disconnect"})
        if self._serving is not None:
            self.peer.stall(stalled=False)
            await self._serving
        self._serving = None
        self.was_in |= self.places
        self.places.clear()
        self._since.clear()

    # --- What it reads ------------------------------------------------------------

    def read(self, count: int | None = None) -> None:
        """Check frames against the model."""
        for _ in range(len(self.peer.unread) if count is None else count):
            frame = self.peer.unread.popleft()
            match frame["type"]:
                case "joined":
                    self._joined(frame)
                case "message":
                    self._message(frame)
                case "resync":
                    self._resync(frame)
                case "left":
                    self.was_in[frame["room"]] = self.places.pop(frame["room"])
                case "error" if frame["code"] == "unavailable" and "ref" not in frame:
                    self._since.popleft()  # of a join

    def _joined(self, frame: JSON) -> None:
        room, epoch, offset = frame["room"], frame["epoch"], frame["offset"]
        since = self._since.popleft()
        self._model.epoch(room, epoch, offset)
        if since is None:
            assert not frame["recovered"]
            offset -= min(RECENT, offset)
        elif frame["recovered"]:
            assert since["epoch"] == epoch
            offset = since["offset"]
        else:
            missed = offset - since["offset"]
            assert since["epoch"] != epoch or missed > HISTORY, "it was there to recover"
        self.places[room] = Place(epoch, offset)

    def _message(self, frame: JSON) -> None:
        place = self.places[frame["room"]]
        assert frame["offset"] == place.offset + 1, "lost, doubled or out of order"
        log = self._model.epoch(frame["room"], place.epoch, frame["offset"])
        assert frame["id"] == log.ids[frame["offset"] - 1]
        place.offset += 1

    def _resync(self, frame: JSON) -> None:
        room, epoch, offset = frame["room"], frame["epoch"], frame["offset"]
        place = self.places[room]
        self._model.epoch(room, epoch, offset)
        missed = offset - place.offset
        assert epoch != place.epoch or missed > HISTORY, "there was no reason"
        self.places[room] = Place(epoch, offset)

    def has_everything(self) -> bool:
        """Whether it has read all that its rooms have."""
        if not self.is_idle or self._since:
            return False
        return all(self._model.is_end_of(room, place) for room, place in self.places.items())


async def _send_nothing(_: Message) -> None:
    """There is no ASGI server."""
    raise AssertionError("the peer takes frames as they are")


class FaultyBackend(MemoryBackend):
    """A broker that can be out of reach, and whose subscriptions can be deaf."""

    def __init__(self) -> None:
        super().__init__("memory://", HISTORY, 3600)
        self.is_deaf = False
        self.refuses = False

    def submit(self, channel: str, message: str | Record, seen: Position | None = None) -> None:
        if self.refuses:
            raise BrokerUnavailable
        super().submit(channel, message, seen)

    async def history(
        self, channel: str, *, last: int, after: int | None, seen: Position | None
    ) -> History:
        await asyncio.sleep(0)
        if self.refuses:
            raise BrokerUnavailable
        history = await super().history(channel, last=last, after=after, seen=seen)
        await some(turns=10)  # in which more comes, and others want to join
        return history

    async def next_published(self) -> Any:
        while True:
            event = await super().next_published()
            if not (self.is_deaf and isinstance(event, Publication)):
                return event

    def hear_again(self) -> None:
        self.is_deaf = False
        for channel in self._subscribed:
            self._published.put_nowait(Resubscribed(channel))


CLIENTS = st.integers(0, 2)
ROOMS = st.sampled_from(["one", "two"])


class MemoryMachine(RuleBasedStateMachine):
    """Clients of one manager, on the memory broker."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.stack = AsyncExitStack()
        self.managers: list[ConnectionManager] = []
        self.clients: list[Client] = []
        self.published = 0
        self.in_outage = False
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("app.realtime.manager.RECENT", RECENT)
        # Nobody waits long before another attempt.
        self.patch.setattr(random, "uniform", lambda low, high: low + (high - low) / 100)
        self.run(self.start())

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.runner.run(coroutine)

    def create_backends(self) -> list[Backend]:
        self.backend = FaultyBackend()
        return [self.backend]

    async def start(self) -> None:
        for backend in self.create_backends():
            manager = ConnectionManager(backend, SETTINGS)
            await self.stack.enter_async_context(manager.running())
            self.managers.append(manager)
        for number in range(3):
            manager = self.managers[number % len(self.managers)]
            self.clients.append(Client(manager, self.model, f"user {number}"))
            self.clients[-1].connect()
            self.clients[-1].join("one", recover=False)

    def teardown(self) -> None:
        try:
            self.run(self.finish())
        finally:
            self.run(self.stack.aclose())
            self.runner.close()
            self.patch.undo()

    async def finish(self) -> None:
        try:
            await self.end_of_outage()
            await self.settled()
        finally:
            for client in self.clients:
                await client.disconnect(unread=len(client.peer.unread))

    # --- Clients ------------------------------------------------------------------

    @rule(number=CLIENTS, room=ROOMS, recover=st.booleans(), turns=st.integers(0, 3))
    def join(self, number: int, room: str, recover: bool, turns: int) -> None:
        async def join() -> None:
            self.clients[number].join(room, recover=recover)
            await some(turns)

        self.run(join())

    @rule(number=CLIENTS, room=ROOMS, turns=st.integers(0, 3))
    def leave(self, number: int, room: str, turns: int) -> None:
        async def leave() -> None:
            self.clients[number].send(type="leave", room=room)
            await some(turns)

        self.run(leave())

    @rule(number=CLIENTS, room=ROOMS, count=st.integers(1, 10), again=st.booleans())
    def publish(self, number: int, room: str, count: int, again: bool) -> None:
        """Publish some messages, or one of the last once more."""
        self.run(self._publish(self.clients[number], room, count, again))

    async def _publish(self, client: Client, room: str, count: int, again: bool) -> None:
        if client.is_gone or not client.peer.is_writable:
            return
        if room not in client.places:
            if self.in_outage:
                return
            client.join(room, recover=True)
        ids = self.model.current(room).ids
        if again and ids:
            names = [ids[-min(count, len(ids))]]
        else:
            names = [f"{self.published + number}" for number in range(count)]
            self.published += count
        for name in names:
            client.send(type="publish", room=room, id=name, text="hello")
        client.send(type="ping")
        await until(lambda: client.is_idle or client.is_gone)
        answered = [f for f in client.peer.unread if f["type"] == "error" and "ref" in f]
        refused = {frame["ref"] for frame in answered}
        for name in names:
            if name not in refused:
                self.model.publish(room, name)
        client.read()

    @rule(number=CLIENTS, stalled=st.booleans())
    def stall(self, number: int, stalled: bool) -> None:
        async def stall() -> None:
            self.clients[number].peer.stall(stalled=stalled)
            await some(1)

        self.run(stall())

    @rule(number=CLIENTS, unread=st.integers(0, 8))
    def return_(self, number: int, unread: int) -> None:
        """Vanish, connect again, and join the same rooms."""

        async def return_() -> None:
            client = self.clients[number]
            rooms = list(client.places)
            await client.disconnect(unread)
            client.connect()
            for room in rooms:
                client.join(room, recover=True)

        self.run(return_())

    @rule()
    def settle(self) -> None:
        """Read what is on its way: everything, but what an outage holds up."""
        if not self.in_outage:
            self.run(self.settled())

    async def settled(self) -> None:
        for client in self.clients:
            client.peer.stall(stalled=False)
        await until(self.everybody_has_everything)

    def everybody_has_everything(self) -> bool:
        for client in self.clients:
            client.read()
        return all(client.is_gone or client.has_everything() for client in self.clients)

    # --- Outages ------------------------------------------------------------------

    @precondition(lambda self: not self.in_outage)
    @rule(refuses=st.booleans())
    def lose_broker(self, refuses: bool) -> None:
        self.in_outage = True
        self.backend.is_deaf = True
        self.backend.refuses = refuses

    @precondition(lambda self: self.in_outage)
    @rule()
    def get_broker_back(self) -> None:
        self.run(self.end_of_outage())

    async def end_of_outage(self) -> None:
        self.in_outage = False
        self.backend.refuses = False
        self.backend.hear_again()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, and look often: nothing here is far away."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


async def some(turns: int) -> None:
    """Let the others go on for some turns."""
    for _ in range(turns):
        await asyncio.sleep(0)


def test_members_see_the_sequence_of_their_room() -> None:
    run_state_machine_as_test(MemoryMachine, settings=settings.get_profile(PROFILE))
