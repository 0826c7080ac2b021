"""Whatever happens to clients and to the broker, members receive the messages of their room.

Hypothesis makes clients join, leave, publish, stall, vanish and reconnect, and the broker
fail, on the real manager. What every client was sent is compared with a model: for each
room a list of messages. For more examples, which differ each time:
`HYPOTHESIS_PROFILE=long uv run pytest -m engine tests/engine/test_model.py`.
"""

import asyncio
import json
import os
import random
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from struct import unpack_from
from typing import Any

import pytest
from broadcaster import Event
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from app.realtime.broker import (
    Backend,
    BrokerUnavailable,
    History,
    Publication,
    Record,
    Resubscribed,
)
from app.realtime.broker.memory import MemoryBackend
from app.realtime.connection import Connection
from app.realtime.frames import Frames
from app.realtime.identity import User
from app.realtime.limits import ConnectionLimits
from app.realtime.manager import ConnectionManager
from app.realtime.protocol import Position
from app.realtime.publisher import channel_of
from app.realtime.visit import Visit
from tests.engine.doubles import visits_of
from tests.engine.example.settings import Settings
from tests.support.client import JSON

HISTORY, RECENT = 6, 2
"""Messages that a room remembers, and that a first join receives. Few, so that many get lost."""

PATIENCE = 10.0
"""Seconds until everything has arrived that was sent."""

HELLO = {"event": "chat.message", "data": {"text": "hello"}}

SETTINGS = Settings(
    outbox_messages=20, messages_per_second=0, replay_bytes_per_second=0, ping_interval=60
)

COMMON = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
settings.register_profile(
    "short",
    COMMON,
    derandomize=True,
    max_examples=150,
    stateful_step_count=40,
    phases=[Phase.generate],  # shrinking would wait for a timeout in every failing example
)
settings.register_profile("long", COMMON, max_examples=1000, stateful_step_count=60)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "short")


class Peer:
    """The other end of a socket: a `FrameWriter` that keeps what is written."""

    handler_is_running = False

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
        """Read frames of less than 64 KiB."""
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
        """Accept nothing more, or everything that waits."""
        self.is_writable = not stalled
        if self.on_change is not None:
            self.on_change()

    async def close_socket(self, code: int, reason: str) -> None:
        """Nobody reads it."""

    def pause_reading(self) -> None:
        """What the client sends now was read already."""

    def resume_reading(self) -> None:
        """The client sends when it wants to."""


class Log:
    """What was published in a room in one epoch."""

    def __init__(self) -> None:
        self.epoch: str | None = None
        self.ids: list[str] = []
        self.offsets: list[int] = []

    def index(self, offset: int) -> int:
        """How many messages come up to an offset."""
        if not self.offsets or offset < self.offsets[0]:
            return 0
        assert offset in self.offsets, "nobody was given this offset"
        return self.offsets.index(offset) + 1


class Place:
    """Up to where a client has read a room."""

    def __init__(self, epoch: str, index: int, offset: int | None) -> None:
        self.epoch = epoch
        self.index = index
        """How many messages of the epoch it has read or skipped."""
        self.offset = offset
        """The offset that stands for it, if the client was told one."""

    @property
    def since(self) -> JSON | None:
        """What the client asks to continue from."""
        return None if self.offset is None else {"epoch": self.epoch, "offset": self.offset}


class Model:
    """What was published, in each room and epoch."""

    def __init__(self) -> None:
        self._logs: dict[str, list[Log]] = {}

    def logs(self, room: str) -> list[Log]:
        return self._logs.setdefault(room, [Log()])

    def current(self, room: str) -> Log:
        return self.logs(room)[-1]

    def log(self, room: str, epoch: str) -> Log:
        """The log of an epoch. An unknown epoch can only be the current one, still empty."""
        log = next((one for one in self.logs(room) if one.epoch == epoch), self.current(room))
        assert log.epoch in {None, epoch}, "an epoch began without a reason"
        return log

    def is_end_of(self, room: str, place: Place) -> bool:
        """Whether there is nothing more to read in a room."""
        current = self.current(room)
        if not current.ids:  # nobody may know of the new epoch yet
            return True
        return current.epoch == place.epoch and len(current.ids) == place.index

    def publish(self, room: str, name: str, position: Position) -> None:
        """Note what the broker has taken, and at which position."""
        log = self.current(room)
        assert log.epoch in {None, position.epoch}, "an epoch began without a reason"
        log.epoch = position.epoch
        if name in log.ids[-HISTORY:]:
            first = len(log.ids) - 1 - log.ids[::-1].index(name)
            assert position.offset == log.offsets[first], "the same id got another position"
            return
        assert not log.offsets or position.offset > log.offsets[-1], "offsets do not grow"
        log.ids.append(name)
        log.offsets.append(position.offset)

    def forget(self) -> None:
        """From now on, other epochs begin."""
        for logs in self._logs.values():
            logs.append(Log())


class Client:
    """A client that reads everything, and remembers up to where."""

    def __init__(self, manager: ConnectionManager, model: Model, name: str) -> None:
        self._visits = visits_of(manager, SETTINGS)
        self._limits = ConnectionLimits(SETTINGS)
        self._model = model
        self._user = User(id=name, name=name)
        self._since: deque[JSON | None] = deque()
        self._again: Counter[tuple[str, str]] = Counter()
        self.places: dict[str, Place] = {}
        self.was_in: dict[str, Place] = {}

    # --- What it does -------------------------------------------------------------

    def connect(self) -> None:
        self.peer = Peer()
        self.connection = Connection(self._user, SETTINGS)
        admission = self._limits.admit(None, self._user.id)
        self._visit = Visit(self._visits, self.connection, admission)
        self._ended = asyncio.Event()
        self._visit.start(self.peer, self._ended.set)

    def send(self, **message: object) -> None:
        self._visit.receive(json.dumps(message))

    def join(self, room: str, *, recover: bool) -> None:
        place = self.places.get(room) or self.was_in.get(room)
        since = place.since if recover and place is not None else None
        self._since.append(since)
        self.send(type="join", room=room, **({"since": since} if since else {}))

    def publish(self, room: str, name: str, *, again: bool) -> None:
        """Publish. `again` says that the room may have it already."""
        self._again[room, name] += again
        self.send(type="publish", room=room, id=name, **HELLO)

    @property
    def is_idle(self) -> bool:
        return self._visit._work is None and not self.connection.unanswered

    @property
    def is_gone(self) -> bool:
        """Whether the server closed the socket."""
        return self.connection.is_closing or self._ended.is_set()

    async def disconnect(self, unread: int) -> None:
        """Disconnect. The last `unread` frames are lost."""
        self.read(max(0, len(self.peer.unread) - unread))
        self._visit.disconnected()
        self.peer.stall(stalled=False)
        await self._ended.wait()
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
        log = self._model.log(room, epoch)
        index = log.index(offset)
        if since is None:
            assert not frame["recovered"]
            if index:
                index = max(0, index - RECENT)
                offset = log.offsets[index - 1] if index else None
        elif frame["recovered"]:
            assert since["epoch"] == epoch
            offset = since["offset"]
            index = log.index(offset)
        else:
            missed = index - log.index(since["offset"]) if since["epoch"] == epoch else None
            assert missed is None or missed > HISTORY, "history had everything that was missed"
        self.places[room] = Place(epoch, index, offset)

    def _message(self, frame: JSON) -> None:
        if self._is_acknowledgement(frame):
            return
        place = self.places[frame["room"]]
        log = self._model.log(frame["room"], place.epoch)
        assert place.index < len(log.ids), "nobody published this"
        expected = log.ids[place.index], log.offsets[place.index]
        assert (frame["id"], frame["offset"]) == expected, "lost, duplicated or out of order"
        place.index += 1
        place.offset = frame["offset"]

    def _is_acknowledgement(self, frame: JSON) -> bool:
        """Whether it is the answer to a message that the room had already, and was read."""
        room, name = frame["room"], frame["id"]
        place = self.places.get(room)
        for epoch_log in self._model.logs(room):
            if frame["offset"] not in epoch_log.offsets or not self._again[room, name]:
                continue
            index = epoch_log.index(frame["offset"])
            was_read = place is None or place.epoch != epoch_log.epoch or index <= place.index
            if was_read and epoch_log.ids[index - 1] == name:
                self._again[room, name] -= 1
                return True
        return False

    def _resync(self, frame: JSON) -> None:
        room, epoch, offset = frame["room"], frame["epoch"], frame["offset"]
        place = self.places[room]
        index = self._model.log(room, epoch).index(offset)
        assert epoch != place.epoch or index - place.index > HISTORY, "there was no reason"
        self.places[room] = Place(epoch, index, offset)

    def has_everything(self) -> bool:
        """Whether it has read all messages of its rooms."""
        if not self.is_idle or self._since:
            return False
        return all(self._model.is_end_of(room, place) for room, place in self.places.items())


class FaultyBackend(MemoryBackend):
    """A broker that can refuse everything, and can stop delivering."""

    def __init__(self) -> None:
        super().__init__("memory://", HISTORY, 3600)
        self.is_deaf = False
        self.refuses = False

    def submit(
        self, channel: str, message: str | Record, seen: Position | None = None
    ) -> Position | None:
        if self.refuses:
            raise BrokerUnavailable
        return super().submit(channel, message, seen)

    async def history(
        self,
        channel: str,
        *,
        last: int,
        after: Sequence[Position] = (),
        seen: Position | None = None,
    ) -> History:
        await asyncio.sleep(0)
        if self.refuses:
            raise BrokerUnavailable
        history = await super().history(channel, last=last, after=after, seen=seen)
        await some(turns=10)  # more is published meanwhile, and others want to join
        return history

    def _deliver(self, event: Event) -> None:
        if not (self.is_deaf and isinstance(event, Publication)):
            super()._deliver(event)

    def hear_again(self) -> None:
        self.is_deaf = False
        for channel in list(self._listeners):
            self._deliver(Resubscribed(channel))


Positions = dict[tuple[str, str], Position]
"""The last position that the broker gave, by channel and id."""


def record_positions(backend: Backend, positions: Positions) -> None:
    """Have a backend note the position of every record that it takes."""
    submit = backend.submit

    def recording(
        channel: str, message: str | Record, seen: Position | None = None
    ) -> asyncio.Future[Position | None] | Position | None:
        answer = submit(channel, message, seen)
        if isinstance(message, Record):
            address = channel, message.id
            if isinstance(answer, asyncio.Future):
                answer.add_done_callback(lambda taken: note(address, taken))
            elif answer is not None:
                positions[address] = answer
        return answer

    def note(address: tuple[str, str], taken: asyncio.Future[Position | None]) -> None:
        if taken.exception() is None and (position := taken.result()) is not None:
            positions[address] = position

    backend.submit = recording  # type: ignore[method-assign]


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
        self.faulty_backend: FaultyBackend | None = None
        self.published = 0
        self.positions: Positions = {}
        self.in_outage = False
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("app.realtime.rooms.RECENT", RECENT)
        # Nobody waits long before another attempt.
        self.patch.setattr(random, "uniform", lambda low, high: low + (high - low) / 100)
        self.run(self.start())

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.runner.run(coroutine)

    def create_backends(self) -> list[Backend]:
        self.faulty_backend = FaultyBackend()
        return [self.faulty_backend]

    async def start(self) -> None:
        for backend in self.create_backends():
            record_positions(backend, self.positions)
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
        """Publish some messages, or one of the last ones again."""
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
            client.publish(room, name, again=again)
        client.send(type="ping")
        await until(lambda: client.is_idle or client.is_gone)
        answered = [f for f in client.peer.unread if f["type"] == "error" and "ref" in f]
        refused = {frame["ref"] for frame in answered}
        for name in names:
            position = self.positions.pop((channel_of(room), name), None)
            assert (position is None) == (name in refused), "the answer does not say what happened"
            if position is not None:
                self.model.publish(room, name, position)
        client.read()

    @rule(number=CLIENTS, stalled=st.booleans())
    def stall(self, number: int, stalled: bool) -> None:
        async def stall() -> None:
            self.clients[number].peer.stall(stalled=stalled)
            await some(1)

        self.run(stall())

    @rule(number=CLIENTS, unread=st.integers(0, 8), other=CLIENTS, count=st.integers(0, 4))
    def reconnect(self, number: int, unread: int, other: int, count: int) -> None:
        """Disconnect, connect again, and join the same rooms, while another client publishes."""

        async def reconnect() -> None:
            client = self.clients[number]
            rooms = list(client.places)
            await client.disconnect(unread)
            client.connect()
            for room in rooms:
                client.join(room, recover=True)
            if rooms and other != number:
                await some(2 * count)
                await self._publish(self.clients[other], rooms[0], count, again=False)

        self.run(reconnect())

    @rule()
    def settle(self) -> None:
        """Read everything that was sent, unless an outage delays it."""
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
        assert self.faulty_backend is not None
        self.faulty_backend.is_deaf = True
        self.faulty_backend.refuses = refuses

    @precondition(lambda self: self.in_outage)
    @rule()
    def get_broker_back(self) -> None:
        self.run(self.end_of_outage())

    async def end_of_outage(self) -> None:
        self.in_outage = False
        assert self.faulty_backend is not None
        self.faulty_backend.refuses = False
        self.faulty_backend.hear_again()

    @precondition(lambda self: self.faulty_backend is not None and not self.in_outage)
    @rule(number=CLIENTS, room=ROOMS, count=st.integers(1, 10))
    def miss(self, number: int, room: str, count: int) -> None:
        """The worker misses some messages, which only the next message reveals."""

        async def miss() -> None:
            backend, client = self.faulty_backend, self.clients[number]
            assert backend is not None
            backend.is_deaf = True
            await self._publish(client, room, count, again=False)
            backend.is_deaf = False
            await self._publish(client, room, 1, again=False)

        self.run(miss())


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that is checked every millisecond."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


async def some(turns: int) -> None:
    """Let other tasks run for some turns of the event loop."""
    for _ in range(turns):
        await asyncio.sleep(0)


def test_members_receive_the_messages_of_their_room_in_order_without_loss() -> None:
    run_state_machine_as_test(MemoryMachine, settings=settings.get_profile(PROFILE))
