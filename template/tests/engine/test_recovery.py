"""Who was away gets exactly what was missed, or is told that this can't be."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.support.auth import sign_in
from tests.support.client import JSON, PATIENCE, Client, open_client
from tests.support.server import StartServer
from tests.support.server import AppServer
from tests.engine.test_metrics import scrape, scrape_until
from tests.engine.test_slow_client import open_stalling_client


@asynccontextmanager
async def member(server: AppServer, room: str, since: JSON | None = None) -> AsyncIterator[Client]:
    """A client that is in a room; `client.seen[-1]` is the answer."""
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as client:
        await client.join(room, since)
        yield client


async def publish_many(client: Client, room: str, count: int, text: str = "hello") -> list[JSON]:
    """Publish, a few at a time; the answer is what all members get."""
    delivered: list[JSON] = []
    while len(delivered) < count:
        some = min(50, count - len(delivered))
        for _ in range(some):
            await client.publish(room, text)
        delivered += await client.messages(some)
    return delivered


def offsets(frames: list[JSON]) -> list[int]:
    return [frame["offset"] for frame in frames if frame["type"] == "message"]


def beginning_of(joined: JSON) -> JSON:
    """Where the epoch of an answer began."""
    return {"epoch": joined["epoch"], "offset": 0}


# --- What was missed ------------------------------------------------------------


async def test_who_returns_gets_what_was_missed_and_then_live_messages(
    server: AppServer, room: str
) -> None:
    async with member(server, room) as alice:
        async with member(server, room) as bob:
            joined = bob.seen[-1]
            await publish_many(alice, room, 3)
            last = (await bob.messages(3))[-1]
        left_at = joined | {"offset": last["offset"]}
        missed = await publish_many(alice, room, 20)
        async with member(server, room, left_at) as bob:
            joined = bob.seen[-1]
            assert joined["recovered"] is True
            assert joined["offset"] == 23
            await alice.publish(room, "live", id="live")
            assert await bob.messages(20) == missed
            assert (await bob.expect("message"))["id"] == "live"
            assert offsets(bob.seen) == list(range(4, 25))


async def test_who_missed_nothing_gets_nothing(server: AppServer, room: str) -> None:
    async with member(server, room) as alice:
        await publish_many(alice, room, 3)
        now = await alice.join(room)
        await alice.on_the_way()
        async with member(server, room, now) as bob:
            assert bob.seen[-1]["recovered"] is True
            assert offsets(await bob.on_the_way()) == []


@pytest.mark.parametrize("wrong", [{"epoch": "another"}, {"offset": 4}], ids=str)
async def test_a_position_that_never_was_is_not_recovered(
    server: AppServer, room: str, wrong: JSON
) -> None:
    async with member(server, room) as alice:
        await publish_many(alice, room, 3)
        position = await alice.join(room) | wrong
        await alice.on_the_way()
        async with member(server, room, position) as bob:
            assert bob.seen[-1]["recovered"] is False
            assert offsets(await bob.on_the_way()) == []
            await alice.publish(room, "live")
            assert (await bob.expect("message"))["offset"] == 4


async def test_who_joins_anew_gets_the_last_fifty(server: AppServer, room: str) -> None:
    async with member(server, room) as alice:
        await publish_many(alice, room, 60)
        async with member(server, room) as bob:
            assert bob.seen[-1]["recovered"] is False
            assert offsets(await bob.on_the_way()) == list(range(11, 61))


async def test_a_member_may_ask_again(server: AppServer, room: str) -> None:
    async with member(server, room) as alice:
        beginning = beginning_of(alice.seen[-1])
        await publish_many(alice, room, 5)
        for _ in range(2):
            assert (await alice.join(room, beginning))["recovered"] is True
            assert offsets(await alice.on_the_way()) == [1, 2, 3, 4, 5]
        await alice.publish(room, "live")
        assert (await alice.expect("message"))["offset"] == 6
        assert offsets(await alice.on_the_way()) == []


async def test_many_who_return_at_once_each_get_their_own(server: AppServer, room: str) -> None:
    async with member(server, room) as alice, AsyncExitStack() as stack:
        beginning = beginning_of(alice.seen[-1])
        await publish_many(alice, room, 100)
        credentials = await sign_in(server.url, "alice")
        clients = [
            await stack.enter_async_context(open_client(server.ws_url, credentials))
            for _ in range(40)
        ]
        positions = [beginning | {"offset": 3 * number} for number in range(len(clients))]
        async with asyncio.TaskGroup() as tasks:
            for client, position in zip(clients, positions, strict=True):
                tasks.create_task(client.join(room, position))
        for client, position in zip(clients, positions, strict=True):
            offset = position["offset"]
            assert client.seen[-1]["recovered"] is (offset <= 100)
            assert offsets(await client.on_the_way()) == list(range(offset + 1, 101))


async def test_whoever_comes_and_goes_under_load_sees_every_message_once(
    server: AppServer, room: str
) -> None:
    await sign_in(server.url, "bob")  # which takes its time
    async with member(server, room) as alice, asyncio.TaskGroup() as tasks:
        travellers = [Traveller(server, room, alice.seen[-1], seed) for seed in range(4)]
        travels = {tasks.create_task(traveller.travel()): traveller for traveller in travellers}
        count = 0
        while under_way := [
            traveller for travel, traveller in travels.items() if not travel.done()
        ]:
            if count - min(traveller.offset for traveller in under_way) < 300:
                await publish_many(alice, room, 5)
                count += 5
            await asyncio.sleep(0.001)
    for traveller in travellers:
        await traveller.catch_up()
        assert traveller.offsets == list(range(1, count + 1))


class Traveller:
    """A client that comes and goes, and remembers what it read."""

    def __init__(self, server: AppServer, room: str, position: JSON, seed: int) -> None:
        self.offsets: list[int] = []
        self._server = server
        self._room = room
        self._position = position
        self._random = random.Random(seed)  # noqa: S311

    @property
    def offset(self) -> int:
        """Of the last message that it read."""
        return self.offsets[-1] if self.offsets else 0

    async def travel(self) -> None:
        for _ in range(6):
            credentials = await sign_in(self._server.url, "bob")
            async with open_client(self._server.ws_url, credentials) as client:
                for _ in range(self._random.randrange(1, 5)):
                    await self._visit(client)
                # Whatever was sent and not read is lost with the socket.
                client.socket.transport.abort()

    async def _visit(self, client: Client) -> None:
        """Come, read some messages, and maybe leave; then read what is on its way."""
        joined = await client.join(self._room, self._position)
        assert joined["recovered"] is True
        for _ in range(self._random.randrange(30)):
            self._read(await client.receive())
        if self._random.random() < 0.5:
            await client.send(type="leave", room=self._room)
            frame = await client.receive()
            while frame["type"] != "left":
                self._read(frame)
                frame = await client.receive()
        else:  # a join by a member, and what came before the answer
            await client.send(type="ping")
            frame = await client.receive()
            while frame["type"] != "pong":
                self._read(frame)
                frame = await client.receive()

    def _read(self, frame: JSON) -> None:
        if frame["type"] == "message":
            self.offsets.append(frame["offset"])
            self._position = self._position | {"offset": frame["offset"]}

    async def catch_up(self) -> None:
        async with member(self._server, self._room, self._position) as client:
            assert client.seen[-1]["recovered"] is True
            for frame in await client.on_the_way():
                self._read(frame)


# --- How far back a room remembers ----------------------------------------------


async def test_a_room_remembers_so_many_messages(
    start_server: StartServer, broker_url: str, room: str
) -> None:
    server = await start_server(BROKER_URL=broker_url, HISTORY_SIZE=5)
    async with member(server, room) as alice:
        beginning = beginning_of(alice.seen[-1])
        await publish_many(alice, room, 12)
        async with member(server, room, beginning | {"offset": 7}) as bob:
            assert bob.seen[-1]["recovered"] is True
            assert offsets(await bob.on_the_way()) == [8, 9, 10, 11, 12]
        async with member(server, room, beginning | {"offset": 6}) as bob:
            assert bob.seen[-1]["recovered"] is False
            assert offsets(await bob.on_the_way()) == []
        async with member(server, room) as bob:
            assert offsets(await bob.on_the_way()) == [8, 9, 10, 11, 12]
        # An id is as good as new when its message is forgotten.
        await alice.publish(room, "same", id="same")
        await publish_many(alice, room, 5)
        await alice.publish(room, "same", id="same")
        assert (await alice.expect("message", id="same"))["offset"] == 19


async def test_a_room_remembers_for_so_long(
    start_server: StartServer, broker_url: str, room: str
) -> None:
    server = await start_server(BROKER_URL=broker_url, HISTORY_SECONDS=1)
    async with member(server, room) as alice:
        beginning = beginning_of(alice.seen[-1])
        await alice.publish(room, "same", id="same")
        await alice.expect("message", id="same")
        assert (await alice.join(room, beginning))["recovered"] is True
        async with asyncio.timeout(PATIENCE):
            while (await alice.join(room, beginning))["recovered"]:
                await alice.on_the_way()
        assert offsets(await alice.on_the_way()) == []
        await alice.publish(room, "same", id="same")
        assert (await alice.expect("message", id="same"))["offset"] == 2
        assert (await alice.join(room, beginning | {"offset": 1}))["recovered"] is True
        assert offsets(await alice.on_the_way()) == [2]


async def test_without_history_only_who_missed_nothing_is_recovered(
    start_server: StartServer, broker_url: str, room: str
) -> None:
    server = await start_server(BROKER_URL=broker_url, HISTORY_SIZE=0)
    async with member(server, room) as alice:
        beginning = beginning_of(alice.seen[-1])
        await publish_many(alice, room, 3)
        for position, recovered in ((3, True), (2, False)):
            joined = await alice.join(room, beginning | {"offset": position})
            assert joined["recovered"] is recovered
            assert offsets(await alice.on_the_way()) == []
        await alice.join(room)
        assert offsets(await alice.on_the_way()) == []
        await alice.publish(room, "live")
        assert (await alice.expect("message"))["offset"] == 4


# --- The same message again -----------------------------------------------------


async def test_a_message_that_is_sent_again_is_delivered_once(server: AppServer, room: str) -> None:
    async with member(server, room) as alice:
        for _ in range(3):
            await alice.publish(room, "once", id="first")
        await alice.publish(room, "last", id="last")
        assert [frame["id"] for frame in await alice.messages(2)] == ["first", "last"]
        await alice.join(room)
        assert [frame["id"] for frame in await alice.on_the_way()] == ["first", "last"]


async def test_an_id_does_not_stand_for_two_messages(server: AppServer, room: str) -> None:
    async with member(server, room) as alice:
        await alice.publish(room, "one", id="taken")
        await alice.expect("message", id="taken")
        await alice.publish(room, "another", id="taken")
        await alice.expect("error", code="invalid", room=room, ref="taken")
        await alice.publish(room, "next")
        assert (await alice.expect("message"))["offset"] == 2


# --- Large replays --------------------------------------------------------------


async def test_a_replay_is_not_held_against_its_client(
    start_server: StartServer, broker_url: str, room: str
) -> None:
    server = await start_server(BROKER_URL=broker_url, OUTBOX_MESSAGES=10, OUTBOX_BYTES=10_000)
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        joined = await alice.join(room)
        for _ in range(100):
            for _ in range(5):
                await alice.publish(room, "x" * 1500)
            await alice.messages(5)
        async with member(server, room, beginning_of(joined)) as bob:
            assert offsets(await bob.on_the_way()) == list(range(1, 501))


async def test_who_asks_for_the_past_and_does_not_read_is_given_it_once(
    start_server: StartServer, broker_url: str, room: str
) -> None:
    server = await start_server(BROKER_URL=broker_url, PING_INTERVAL=0)
    async with member(server, room) as alice:
        beginning = beginning_of(alice.seen[-1])
        await publish_many(alice, room, 990, "x" * 4096)
        async with open_stalling_client(server, await sign_in(server.url, "bob")) as bob:
            position = {name: beginning[name] for name in ("epoch", "offset")}
            for _ in range(5):
                await bob.send(type="join", room=room, since=position)
            recovered = "websocket_recoveries_total result=recovered"
            await scrape_until(server, **{recovered: 1})
            await publish_many(alice, room, 10)
            assert (await scrape(server))[recovered] == 1
            for _ in range(5):
                assert (await bob.expect("joined"))["recovered"] is True
                first, *_, last = await bob.messages(990)
                assert (first["offset"], last["offset"]) == (1, 990)


async def test_who_vanishes_while_the_past_is_on_its_way_leaves(
    start_server: StartServer, broker_url: str, room: str
) -> None:
    server = await start_server(BROKER_URL=broker_url, PING_INTERVAL=1, PING_TIMEOUT=1)
    async with member(server, room) as alice:
        beginning = beginning_of(alice.seen[-1])
        await publish_many(alice, room, 1000, "x" * 4096)
        async with open_stalling_client(server, await sign_in(server.url, "bob")) as bob:
            name = (await bob.expect("welcome"))["user"]
            position = {key: beginning[key] for key in ("epoch", "offset")}
            for _ in range(2):
                await bob.send(type="join", room=room, since=position)
            await alice.expect("presence", user=name, event="join")
            bob.socket.transport.abort()
            await alice.expect("presence", user=name, event="leave")
