"""A client that reconnects receives what it missed, or is told that this is impossible.

Offsets grow, not necessarily by one. So these tests compare messages with those that another
member received.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.engine.test_metrics import scrape, scrape_until
from tests.engine.test_slow_client import open_stalling_client
from tests.support.auth import sign_in
from tests.support.client import JSON, PATIENCE, Client, open_client
from tests.support.server import AppServer, StartServer


@asynccontextmanager
async def member(server: AppServer, room: str, since: JSON | None = None) -> AsyncIterator[Client]:
    """A client in a room. `client.seen[-1]` is the answer to its join."""
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as client:
        await client.join(room, since)
        yield client


async def publish_many(client: Client, room: str, count: int, text: str = "hello") -> list[JSON]:
    """Publish, a few at a time. Returns the messages that every member receives."""
    delivered: list[JSON] = []
    while len(delivered) < count:
        some = min(50, count - len(delivered))
        for _ in range(some):
            await client.publish(room, text)
        delivered += await client.messages(some)
    return delivered


def messages_in(frames: list[JSON]) -> list[JSON]:
    return [frame for frame in frames if frame["type"] == "message"]


def offsets(frames: list[JSON]) -> list[int]:
    return [frame["offset"] for frame in messages_in(frames)]


# --- After a reconnect ----------------------------------------------------------


async def test_a_client_that_reconnects_receives_what_it_missed_and_then_live_messages(
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
            assert joined["offset"] == missed[-1]["offset"]
            await alice.publish(room, "live", id="live")
            live = await alice.expect("message", id="live")
            assert await bob.messages(21) == [*missed, live]
            await bob.on_the_way()
            received = offsets(bob.seen)
            assert received == sorted(set(received))
            assert len(received) == 21


async def test_a_client_that_missed_nothing_receives_nothing(server: AppServer, room: str) -> None:
    async with member(server, room) as alice:
        await publish_many(alice, room, 3)
        now = await alice.join(room)
        await alice.on_the_way()
        async with member(server, room, now) as bob:
            assert bob.seen[-1]["recovered"] is True
            assert offsets(await bob.on_the_way()) == []


@pytest.mark.parametrize("wrong", ["epoch", "offset"])
async def test_a_position_that_never_existed_is_not_recovered(
    server: AppServer, room: str, wrong: str
) -> None:
    async with member(server, room) as alice:
        await publish_many(alice, room, 3)
        now = await alice.join(room)
        await alice.on_the_way()
        position = now | {"epoch": "another"} if wrong == "epoch" else ahead_of(now)
        async with member(server, room, position) as bob:
            assert bob.seen[-1]["recovered"] is False
            assert bob.seen[-1]["offset"] == now["offset"]
            assert offsets(await bob.on_the_way()) == []
            await alice.publish(room, "live")
            assert await bob.expect("message") == await alice.expect("message")


def ahead_of(joined: JSON) -> JSON:
    """A position that its room has not reached yet, nor any other room of the broker."""
    return joined | {"offset": joined["offset"] + 1_000_000_000}


async def test_a_client_that_joins_for_the_first_time_receives_the_last_fifty_messages(
    server: AppServer, room: str
) -> None:
    async with member(server, room) as alice:
        delivered = await publish_many(alice, room, 60)
        async with member(server, room) as bob:
            assert bob.seen[-1]["recovered"] is False
            assert messages_in(await bob.on_the_way()) == delivered[-50:]


async def test_a_member_may_join_again_to_receive_history_again(
    server: AppServer, room: str
) -> None:
    async with member(server, room) as alice:
        beginning = alice.seen[-1]
        delivered = await publish_many(alice, room, 5)
        for _ in range(2):
            assert (await alice.join(room, beginning))["recovered"] is True
            assert messages_in(await alice.on_the_way()) == delivered
        await alice.publish(room, "live")
        assert (await alice.expect("message"))["offset"] > delivered[-1]["offset"]
        assert offsets(await alice.on_the_way()) == []


async def test_clients_that_reconnect_together_each_receive_what_they_missed(
    server: AppServer, room: str
) -> None:
    async with member(server, room) as alice, AsyncExitStack() as stack:
        beginning = alice.seen[-1]
        delivered = await publish_many(alice, room, 100)
        seen = [beginning, *delivered]
        positions = [beginning | {"offset": seen[3 * n]["offset"]} for n in range(34)]
        positions += [ahead_of(beginning | {"offset": seen[-1]["offset"] + n}) for n in range(6)]
        credentials = await sign_in(server.url, "alice")
        clients = [
            await stack.enter_async_context(open_client(server.ws_url, credentials))
            for _ in positions
        ]
        async with asyncio.TaskGroup() as tasks:
            for client, position in zip(clients, positions, strict=True):
                tasks.create_task(client.join(room, position))
        for number, client in enumerate(clients):
            assert client.seen[-1]["recovered"] is (number < 34)
            assert messages_in(await client.on_the_way()) == delivered[3 * number :]


async def test_clients_that_reconnect_under_load_receive_every_message_once(
    server: AppServer, room: str
) -> None:
    await sign_in(server.url, "bob")  # which takes its time
    async with member(server, room) as alice, asyncio.TaskGroup() as tasks:
        travellers = [Traveller(server, room, alice.seen[-1], seed) for seed in range(4)]
        travels = {tasks.create_task(traveller.travel()): traveller for traveller in travellers}
        published: list[int] = []
        while under_way := [
            traveller for travel, traveller in travels.items() if not travel.done()
        ]:
            if len(published) - min(len(traveller.offsets) for traveller in under_way) < 300:
                published += offsets(await publish_many(alice, room, 5))
            await asyncio.sleep(0.001)
    for traveller in travellers:
        await traveller.catch_up()
        assert traveller.offsets == published


class Traveller:
    """A client that connects again and again, and remembers what it received."""

    def __init__(self, server: AppServer, room: str, position: JSON, seed: int) -> None:
        self.offsets: list[int] = []
        self._server = server
        self._room = room
        self._position = position
        self._random = random.Random(seed)  # noqa: S311

    async def travel(self) -> None:
        for _ in range(6):
            credentials = await sign_in(self._server.url, "bob")
            async with open_client(self._server.ws_url, credentials) as client:
                for _ in range(self._random.randrange(1, 5)):
                    await self._visit(client)
                # What was sent and not received is lost with the socket.
                client.socket.transport.abort()

    async def _visit(self, client: Client) -> None:
        """Join, receive some messages, maybe leave, and receive what is on its way."""
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
        else:  # then the next visit is a join by a member
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


async def test_a_room_remembers_as_many_messages_as_the_setting_says(
    start_server: StartServer, broker_url: str, room: str
) -> None:
    server = await start_server(BROKER_URL=broker_url, HISTORY_SIZE=5)
    async with member(server, room) as alice:
        joined = alice.seen[-1]
        delivered = await publish_many(alice, room, 12)
        async with member(server, room, joined | {"offset": delivered[6]["offset"]}) as bob:
            assert bob.seen[-1]["recovered"] is True
            assert messages_in(await bob.on_the_way()) == delivered[-5:]
        async with member(server, room, joined | {"offset": delivered[5]["offset"]}) as bob:
            assert bob.seen[-1]["recovered"] is False
            assert offsets(await bob.on_the_way()) == []
        async with member(server, room) as bob:
            assert messages_in(await bob.on_the_way()) == delivered[-5:]
        # The id can be used again when the room has forgotten its message.
        await alice.publish(room, "same", id="same")
        first = await alice.expect("message", id="same")
        last = (await publish_many(alice, room, 5))[-1]
        await alice.publish(room, "same", id="same")
        assert (await alice.expect("message", id="same"))["offset"] > last["offset"]
        assert first["offset"] < last["offset"]


async def test_a_room_remembers_messages_as_long_as_the_setting_says(
    start_server: StartServer, broker_url: str, room: str
) -> None:
    server = await start_server(BROKER_URL=broker_url, HISTORY_SECONDS=1)
    async with member(server, room) as alice:
        beginning = alice.seen[-1]
        await alice.publish(room, "same", id="same")
        first = await alice.expect("message", id="same")
        assert (await alice.join(room, beginning))["recovered"] is True
        async with asyncio.timeout(PATIENCE):
            while (await alice.join(room, beginning))["recovered"]:
                await alice.on_the_way()
        assert offsets(await alice.on_the_way()) == []
        await alice.publish(room, "same", id="same")
        second = await alice.expect("message", id="same")
        assert second["offset"] > first["offset"]
        position = beginning | {"offset": first["offset"]}
        assert (await alice.join(room, position))["recovered"] is True
        assert messages_in(await alice.on_the_way()) == [second]


async def test_without_history_only_a_client_that_missed_nothing_is_recovered(
    start_server: StartServer, broker_url: str, room: str
) -> None:
    server = await start_server(BROKER_URL=broker_url, HISTORY_SIZE=0)
    async with member(server, room) as alice:
        beginning = alice.seen[-1]
        delivered = await publish_many(alice, room, 3)
        for message, recovered in ((delivered[2], True), (delivered[1], False)):
            joined = await alice.join(room, beginning | {"offset": message["offset"]})
            assert joined["recovered"] is recovered
            assert offsets(await alice.on_the_way()) == []
        await alice.join(room)
        assert offsets(await alice.on_the_way()) == []
        await alice.publish(room, "live")
        assert (await alice.expect("message"))["offset"] > delivered[-1]["offset"]


# --- The same message again -----------------------------------------------------


async def test_a_message_that_is_sent_again_is_delivered_once_and_acknowledged_again(
    server: AppServer, room: str
) -> None:
    async with member(server, room) as alice, member(server, room) as bob:
        await alice.publish(room, "once", id="first")
        await alice.publish(room, "last", id="last")
        first, last = await alice.messages(2)
        for _ in range(2):
            await alice.publish(room, "once", id="first")
            assert await alice.expect("message") == first
        await alice.publish(room, "after", id="after")
        after = await alice.expect("message")
        assert await bob.messages(3) == [first, last, after]
        await alice.join(room)
        assert messages_in(await alice.on_the_way()) == [first, last, after]


async def test_a_message_that_is_sent_again_at_once_is_delivered_once(
    server: AppServer, room: str
) -> None:
    async with member(server, room) as alice, member(server, room) as bob:
        for _ in range(10):
            await alice.publish(room, "once", id="first")
        await alice.publish(room, "last", id="last")
        assert [frame["id"] for frame in await bob.messages(2)] == ["first", "last"]
        await alice.expect("message", id="last")


async def test_an_id_cannot_be_used_for_two_messages(server: AppServer, room: str) -> None:
    async with member(server, room) as alice:
        await alice.publish(room, "one", id="taken")
        await alice.expect("message", id="taken")
        await alice.publish(room, "another", id="taken")
        await alice.expect("error", code="invalid", room=room, ref="taken")
        await alice.publish(room, "next", id="next")
        await alice.expect("message", id="next")
        ids = [message["id"] for message in messages_in(alice.seen)]
        assert ids == ["taken", "next"]


# --- Large replays --------------------------------------------------------------


async def test_a_replay_does_not_count_against_the_outbox(
    start_server: StartServer, broker_url: str, room: str
) -> None:
    server = await start_server(BROKER_URL=broker_url, OUTBOX_MESSAGES=10, OUTBOX_BYTES=10_000)
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        joined = await alice.join(room)
        delivered: list[JSON] = []
        for _ in range(100):
            for _ in range(5):
                await alice.publish(room, "x" * 1500)
            delivered += await alice.messages(5)
        async with member(server, room, joined) as bob:
            assert messages_in(await bob.on_the_way()) == delivered


async def test_a_client_that_does_not_read_its_replay_is_not_sent_another_one(
    start_server: StartServer, broker_url: str, room: str
) -> None:
    server = await start_server(BROKER_URL=broker_url, PING_INTERVAL=0, REPLAY_BYTES_PER_SECOND=0)
    async with member(server, room) as alice:
        beginning = alice.seen[-1]
        delivered = await publish_many(alice, room, 990, "x" * 4096)
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
                assert offsets(await bob.messages(990)) == offsets(delivered)


async def test_a_client_that_vanishes_during_a_replay_leaves_the_room(
    start_server: StartServer, broker_url: str, room: str
) -> None:
    server = await start_server(BROKER_URL=broker_url, PING_INTERVAL=1, PING_TIMEOUT=1)
    async with member(server, room) as alice:
        beginning = alice.seen[-1]
        await publish_many(alice, room, 1000, "x" * 4096)
        async with open_stalling_client(server, await sign_in(server.url, "bob")) as bob:
            user = (await bob.expect("welcome"))["user"]
            position = {key: beginning[key] for key in ("epoch", "offset")}
            for _ in range(2):
                await bob.send(type="join", room=room, since=position)
            await alice.expect("presence", user=user, event="join")
            bob.socket.transport.abort()
            await alice.expect("presence", user=user, event="leave")
