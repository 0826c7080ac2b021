"""How fast a connection may enter rooms that nobody on this worker is in."""

from types import SimpleNamespace

import pytest

from app.realtime.broker.memory import MemoryBackend
from app.realtime.connection import Connection
from app.realtime.manager import NEW_ROOMS, ConnectionManager
from app.realtime.protocol import Join
from tests.engine.doubles import TransportSocket, connection
from tests.engine.example.settings import Settings
from tests.engine.test_limits import Clock

PER_SECOND = 20
UNBOUNDED = Settings(messages_per_second=0, max_rooms_per_connection=0)
SETTINGS = Settings(messages_per_second=PER_SECOND, max_rooms_per_connection=0)
BURST = 2 * PER_SECOND


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that budgets look at."""
    clock = Clock()
    monkeypatch.setattr("app.realtime.limits.time", SimpleNamespace(monotonic=clock))
    return clock


class Client:
    """A connection, and what it is answered."""

    def __init__(self, manager: ConnectionManager) -> None:
        self._manager = manager
        self.connection: Connection = connection()
        self.socket = TransportSocket(takes=100_000)
        self.connection.start(self.socket)

    async def join(self, name: object) -> bool:
        """Whether it may enter a room."""
        room = name if name == "@me" else f"room-{name}"
        count = len(self.socket.given)
        await self._manager.join(self.connection, Join(type="join", room=str(room)))
        answer = self.socket.given[count]
        assert answer["room"] == room
        assert answer["type"] == "joined" or answer["code"] == "rate_limited"
        return bool(answer["type"] == "joined")


async def test_a_burst_may_be_entered_and_then_so_many_a_second(clock: Clock) -> None:
    manager = ConnectionManager(MemoryBackend("memory://", 10, 60), SETTINGS)
    async with manager.running():
        alice, bob = Client(manager), Client(manager)
        entered = sum([await alice.join(number) for number in range(3 * BURST)])
        assert BURST <= entered <= BURST + 1
        assert await bob.join("of-bob")  # each connection has a limit of its own
        for second in range(10):
            clock.now += 1
            names = [f"{second}-{number}" for number in range(PER_SECOND)]
            entered += sum([await alice.join(name) for name in names])
        assert entered == pytest.approx(BURST + 10 * PER_SECOND / NEW_ROOMS, abs=1)
        for client in (alice, bob):
            await manager.disconnect(client.connection)


async def test_leaving_a_room_does_not_make_it_known(clock: Clock) -> None:  # noqa: ARG001
    manager = ConnectionManager(MemoryBackend("memory://", 10, 60), SETTINGS)
    async with manager.running():
        alice = Client(manager)
        entered = 0
        for _ in range(3 * BURST):
            entered += await alice.join(1)
            if alice.connection.rooms:
                await manager.leave(alice.connection, "room-1")
        assert BURST <= entered <= BURST + 1


async def test_rooms_that_somebody_is_in_cost_nothing(clock: Clock) -> None:  # noqa: ARG001
    backend = MemoryBackend("memory://", 10, 60)
    manager = ConnectionManager(backend, UNBOUNDED)
    async with manager.running():
        alice, bob = Client(manager), Client(manager)
        assert all([await alice.join(number) for number in range(10 * BURST)])
        manager._settings = SETTINGS
        assert all([await bob.join(number) for number in range(10 * BURST)])
        assert all([await bob.join(number) for number in range(10 * BURST)])  # a member
        for client in (alice, bob):
            await manager.disconnect(client.connection)


async def test_nothing_is_left_of_rooms_that_were_entered_and_left() -> None:
    backend = MemoryBackend("memory://", 10, 60)
    manager = ConnectionManager(backend, UNBOUNDED)
    async with manager.running():
        alice, bob = Client(manager), Client(manager)
        for number in range(500):
            assert await alice.join(number)
            assert await bob.join(number)
            await manager.leave(alice.connection, f"room-{number}")
        assert await alice.join("@me")
        rooms, presence = manager._rooms, manager.presence
        assert len(rooms._rooms) == len(rooms._feeds) == 501
        for client in (alice, bob):
            await manager.disconnect(client.connection)
        for kept in (rooms._rooms, rooms._feeds, rooms._locks, rooms._waiting):
            assert not kept
        assert not presence._news._rooms
        assert not presence._more
        assert not presence._roster._rooms
        assert not any(presence._here._buckets)
        assert not [name for name in backend._channels if name.startswith("room:")]
        assert not backend._listeners
