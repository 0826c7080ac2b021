"""The broker is killed, paused and cut off under the load of two processes: nothing is lost."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.engine.soak.conftest import Measured, StartSoakServer
from tests.engine.soak.light import open_light
from tests.engine.soak.member import CHANCE, Member, publishing, settle, verify_room
from tests.engine.soak.server import SoakServer
from tests.support.auth import sign_in
from tests.support.broker import Server
from tests.support.broker_server import BrokerServer
from tests.support.client import PATIENCE, open_client

pytestmark = pytest.mark.soak

ROOMS = [f"room-{number}" for number in range(5)]
MEMBERS = 3
"""Of each room, on each server."""
PAUSE = 0.05
"""Seconds between two messages of a member, on average."""

KILLS = 3
PAUSES = 2
CUTS = 30
OUTAGE = 10.0
"""Seconds that a killed broker stays away."""
SILENCE = 20.0
"""Seconds that a paused broker stays silent."""

REMEMBERED = 500
"""Messages that a room remembers at least."""

REFUSED_WITHIN = 1.0
NOT_READY_WITHIN = 15.0
RECOVERED_WITHIN = 5.0


class Load:
    """Two servers on one broker, and members of each room on both."""

    def __init__(self, servers: list[SoakServer]) -> None:
        self.servers = servers
        self.members: list[Member] = []

    async def connect(self) -> None:
        for server in self.servers:
            credentials = await sign_in(server.url, "alice")
            for room in ROOMS * MEMBERS:
                member = await open_light(server.port, credentials, Member(room))
                self.members.append(member)
                await member.join()

    def disconnect(self) -> None:
        for member in self.members:
            member.abort()

    async def wait_for_readiness(self, status: int, patience: float) -> float:
        """Wait until every server answers with this status. Returns the seconds that it took."""
        started = time.monotonic()
        waiting = (server.wait_for_status("/readyz", status, patience) for server in self.servers)
        await asyncio.gather(*waiting)
        return time.monotonic() - started

    async def wait_for_deliveries(self, patience: float) -> float:
        """Wait until each member has received a message. Returns the seconds that it took."""
        started = time.monotonic()
        before = [len(member.received) for member in self.members]
        try:
            async with asyncio.timeout(patience):
                while any(
                    len(member.received) == count
                    for member, count in zip(self.members, before, strict=True)
                ):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"a member received nothing for {patience} s") from None
        return time.monotonic() - started

    def members_of(self, room: str) -> list[Member]:
        return [member for member in self.members if member.room == room]

    async def verify_history(self) -> None:
        """Check that each server recovers the same messages."""
        for server in self.servers:
            async with open_client(server.ws_url, await sign_in(server.url, "alice")) as client:
                for room in ROOMS:
                    member = self.members_of(room)[0]
                    start = max(0, len(member.received) - REMEMBERED)
                    since = member.position
                    if start:
                        since = since | {"offset": member.received[start - 1][0]}
                    joined = await client.join(room, since)
                    assert joined["recovered"], f"{room} was not recovered: {joined}"
                    messages = await client.messages(len(member.received) - start)
                    history = [(message["offset"], message["id"]) for message in messages]
                    assert history == member.received[start:], f"{room}: history differs"

    def verify(self, measured: Measured) -> None:
        """Check that no process ended, no socket closed, and each received the same in order."""
        assert all(server.is_running for server in self.servers), "a worker exited"
        for room in ROOMS:
            verify_room(room, self.members_of(room))
        acknowledged = sum(len(member.acknowledged) for member in self.members)
        refused = sum(len(member.refused_after) for member in self.members)
        measured("messages acknowledged, refusals", f"{acknowledged}, {refused}")
        measured("deliveries", sum(len(member.received) for member in self.members))

    def verify_times(
        self,
        measured: Measured,
        not_ready: list[float],
        ready: list[float],
        delivering: list[float],
    ) -> None:
        """Check that the servers noticed and reported the outages in time, and recovered."""
        refused = max(s for member in self.members for s in member.refused_after)
        measured("seconds until not ready", seconds(not_ready))
        measured("seconds until ready again", seconds(ready))
        measured("seconds until delivering again", seconds(delivering))
        measured("seconds of the slowest refusal", refused)
        assert max(not_ready) <= NOT_READY_WITHIN, f"noticed after {seconds(not_ready)} s"
        assert max(ready) <= RECOVERED_WITHIN, f"ready again after {seconds(ready)} s"
        assert max(delivering) <= RECOVERED_WITHIN, f"delivering after {seconds(delivering)} s"
        assert refused <= REFUSED_WITHIN, f"a publisher was told after {refused:.3f} s"


def seconds(times: list[float]) -> str:
    return ", ".join(f"{time:.2f}" for time in times)


@pytest.fixture
def broker(tmp_path: Path) -> BrokerServer:
    """A broker that loses nothing when it is killed."""
    return Server(tmp_path)


@asynccontextmanager
async def loaded(
    broker: BrokerServer, start_server: StartSoakServer, measured: Measured
) -> AsyncIterator[Load]:
    """Members that publish during the block. None of their messages may be lost."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(broker.running())
        starts = (start_server(BROKER_URL=broker.url, PING_INTERVAL=5) for _ in range(2))
        load = Load(list(await asyncio.gather(*starts)))
        stack.callback(load.disconnect)
        await load.wait_for_readiness(200, PATIENCE)
        await load.connect()
        async with asyncio.timeout(300):
            async with publishing(load.members, PAUSE):
                yield load
            await settle(load.members)
            load.verify(measured)
            await load.verify_history()


async def test_nothing_is_lost_when_the_broker_is_killed(
    start_server: StartSoakServer, broker: BrokerServer, measured: Measured
) -> None:
    clock = asyncio.get_running_loop().time
    not_ready, ready, delivering = [], [], []
    async with loaded(broker, start_server, measured) as load:
        for _ in range(KILLS):
            await asyncio.sleep(CHANCE.uniform(1, 4))
            broker.kill()
            gone_at = clock()
            not_ready.append(await load.wait_for_readiness(503, 2 * NOT_READY_WITHIN))
            await asyncio.sleep(gone_at + OUTAGE - clock())
            await broker.start()
            back = await asyncio.gather(
                load.wait_for_readiness(200, 4 * RECOVERED_WITHIN),
                load.wait_for_deliveries(4 * RECOVERED_WITHIN),
            )
            ready.append(back[0])
            delivering.append(back[1])
        await asyncio.sleep(2)
    load.verify_times(measured, not_ready, ready, delivering)


async def test_nothing_is_lost_when_the_broker_is_paused(
    start_server: StartSoakServer, broker: BrokerServer, measured: Measured
) -> None:
    clock = asyncio.get_running_loop().time
    not_ready, ready, delivering = [], [], []
    async with loaded(broker, start_server, measured) as load:
        for _ in range(PAUSES):
            await asyncio.sleep(CHANCE.uniform(1, 4))
            broker.pause()
            silent_at = clock()
            not_ready.append(await load.wait_for_readiness(503, SILENCE))
            await asyncio.sleep(silent_at + SILENCE - clock())
            broker.resume()
            back = await asyncio.gather(
                load.wait_for_readiness(200, 4 * RECOVERED_WITHIN),
                load.wait_for_deliveries(4 * RECOVERED_WITHIN),
            )
            ready.append(back[0])
            delivering.append(back[1])
        await asyncio.sleep(2)
    load.verify_times(measured, not_ready, ready, delivering)


async def test_nothing_is_lost_when_connections_to_the_broker_are_cut(
    start_server: StartSoakServer, broker: BrokerServer, measured: Measured
) -> None:
    async with loaded(broker, start_server, measured):
        for _ in range(CUTS):
            await asyncio.sleep(CHANCE.uniform(0.1, 1))
            await broker.cut()
        await asyncio.sleep(2)
