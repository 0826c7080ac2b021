"""What one client can cost, within the default limits: each attack is bounded.

What a broker of its own keeps is in the folder of its tests.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from app.realtime.manager import NEW_ROOMS
from app.realtime.replays import BURST
from app.realtime.settings import RealtimeSettings
from tests.engine.test_metrics import scrape, scrape_until
from tests.engine.test_recovery import messages_in, publish_many
from tests.support.auth import sign_in
from tests.support.client import JSON, Client, Credentials, open_client
from tests.support.server import AppServer, StartServer

CROWD = ("tests.engine.crowd_app",)
DEFAULTS = RealtimeSettings()
PER_SECOND = DEFAULTS.messages_per_second
MEMBERS = DEFAULTS.presence_members
TEXT = "x" * 4096


def clock() -> float:
    return asyncio.get_running_loop().time()


def size_of(frames: Sequence[JSON]) -> int:
    """How many bytes of JSON these messages were."""
    return sum(len(json.dumps(frame, separators=(",", ":"))) for frame in frames)


# --- New rooms --------------------------------------------------------------------


async def enter_new_rooms(client: Client, name: str, seconds: float) -> int:
    """Enter new rooms as fast as the limit of messages allows. Returns how many it were."""
    start = clock()
    asked = 0
    while (elapsed := clock() - start) < seconds:
        while asked < 2 * PER_SECOND + elapsed * PER_SECOND - 1:
            await client.send(type="join", room=f"{name}.{asked}")
            asked += 1
        await asyncio.sleep(0.02)
    answers: Counter[str] = Counter()
    for _ in range(asked):
        answer = await client.receive()
        while answer["type"] not in {"joined", "error"}:
            answer = await client.receive()
        answers[answer.get("code", "joined")] += 1
    assert set(answers) <= {"joined", "rate_limited"}
    return answers["joined"]


async def test_entering_new_rooms_is_limited_and_leaves_no_room_behind(
    start_server: StartServer, broker_url: str
) -> None:
    server = await start_server(BROKER_URL=broker_url, MESSAGES_PER_SECOND=PER_SECOND)
    credentials = await sign_in(server.url, "mallory")
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(open_client(server.ws_url, credentials))
            for _ in range(5)
        ]
        seconds = 1.5
        entered = await asyncio.gather(
            *(enter_new_rooms(it, f"room-{n}", seconds) for n, it in enumerate(clients))
        )
        most = 2 * PER_SECOND + (seconds + 1) * PER_SECOND / NEW_ROOMS
        assert 2 * PER_SECOND <= min(entered) <= max(entered) <= most
        assert (await scrape(server))["websocket_rooms"] == sum(entered)
    await scrape_until(server, websocket_rooms=0, websocket_connections=0)


async def test_rooms_that_others_are_in_do_not_count_as_new(
    start_server: StartServer,
) -> None:
    server = await start_server(MAX_ROOMS_PER_CONNECTION=0, MESSAGES_PER_SECOND=PER_SECOND)
    credentials = await sign_in(server.url, "alice")
    names = [f"room-{number}" for number in range(2 * PER_SECOND - 1)]
    async with (
        open_client(server.ws_url, credentials) as alice,
        open_client(server.ws_url, credentials) as bob,
    ):
        for name in names:
            await alice.join(name)
        for name in names:
            await bob.join(name)
        await asyncio.sleep(1)  # for as many messages
        for number in range(PER_SECOND - 1):
            await bob.join(f"new-{number}")


async def test_what_is_published_in_new_rooms_is_bounded_in_sum(
    start_server: StartServer,
) -> None:
    most = 50
    server = await start_server(HISTORY_BYTES=most * len(TEXT))
    async with open_client(server.ws_url, await sign_in(server.url, "mallory")) as mallory:
        positions: dict[str, JSON] = {}
        for number in range(4 * most):
            name = f"room-{number}"
            positions[name] = await mallory.join(name)
            await mallory.publish(name, TEXT)
            await mallory.send(type="leave", room=name)
        await mallory.on_the_way()
        remembered = []
        for name, position in positions.items():
            joined = await mallory.join(name, position)
            messages = messages_in(await mallory.on_the_way())
            assert joined["recovered"] is bool(messages)  # nobody is told that nothing was lost
            if messages:
                remembered.append(name)
            await mallory.send(type="leave", room=name)
    assert most / 2 < len(remembered) < most
    assert remembered == list(positions)[-len(remembered) :]


# --- The past, again and again ----------------------------------------------------


async def test_asking_for_the_same_history_again_and_again_is_bounded(
    start_server: StartServer, room: str
) -> None:
    server = await start_server()
    async with (
        open_client(server.ws_url, await sign_in(server.url, "alice")) as alice,
        open_client(server.ws_url, await sign_in(server.url, "mallory")) as mallory,
    ):
        beginning = await alice.join(room)
        replay = size_of(await publish_many(alice, room, 990, TEXT))
        start, asked = clock(), 0
        while (elapsed := clock() - start) < 1.5:
            while asked < 2 * PER_SECOND + elapsed * PER_SECOND:
                since = {name: beginning[name] for name in ("epoch", "offset")}
                await mallory.send(type="join", room=room, since=since)
                asked += 1
            await mallory.on_the_way()
        elapsed = clock() - start
        answers = Counter(it.get("code", it["type"]) for it in mallory.seen)
        assert answers["joined"] + answers["rate_limited"] == asked
        assert answers["joined"] >= BURST // replay  # honest clients get what they ask for
        # Whoever has a byte left is given one replay more.
        most = BURST + elapsed * DEFAULTS.replay_bytes_per_second + replay
        assert size_of(mallory.seen) < most + 1000 * asked
        await alice.publish(room, "live", id="live")  # which goes on
        await mallory.expect("message", id="live")


# --- A crowd ----------------------------------------------------------------------


@asynccontextmanager
async def crowd_in(server: AppServer, room: str, count: int) -> AsyncIterator[list[Client]]:
    """So many users in one room, who entered as fast as they could."""
    async with AsyncExitStack() as stack:
        members: list[Client] = []

        async def enter() -> None:
            client = open_client(server.ws_url, Credentials(), compression=None)
            member = await stack.enter_async_context(client)
            await member.join(room)
            members.append(member)

        for _ in range(0, count, 50):
            await asyncio.gather(*(enter() for _ in range(50)))
        yield members


def named_in(frame: JSON) -> int:
    """How many users a message names."""
    return len(frame.get("members") or frame.get("users") or [])


async def test_a_crowd_that_enters_a_room_is_told_counts(
    start_server: StartServer, room: str
) -> None:
    server = await start_server(*CROWD)
    start = clock()
    async with crowd_in(server, room, 300) as members:
        async with asyncio.timeout(3):
            while any(last_count(member) != 300 for member in members):
                await asyncio.sleep(0.2)
                await asyncio.gather(*(member.on_the_way() for member in members))
        elapsed = clock() - start
        one_name = size_of([members[0].user]) + 1
        for member in members:
            told = [frame for frame in member.seen if frame["type"] == "presence"]
            assert len(told) <= elapsed + 1
            assert max(map(named_in, member.seen)) <= MEMBERS
            named = sum(map(named_in, member.seen))
            assert named <= 2 * MEMBERS
            assert size_of(member.seen) < named * one_name + 200 * len(member.seen)
        assert last_count(members[-1]) == 300


def last_count(member: Client) -> int:
    """How many users a member knows to be in its room."""
    return next((frame["count"] for frame in reversed(member.seen) if "count" in frame), 0)


@pytest.mark.parametrize("count", [50, 300])
async def test_one_who_comes_and_goes_is_told_at_most_once_a_second(
    start_server: StartServer, room: str, count: int
) -> None:
    server = await start_server(*CROWD, MESSAGES_PER_SECOND=PER_SECOND)
    async with (
        crowd_in(server, room, count) as members,
        open_client(server.ws_url, Credentials()) as mallory,
    ):
        await asyncio.sleep(1)  # until all know of each other
        await asyncio.gather(*(member.on_the_way() for member in members))
        seen = [len(member.seen) for member in members]
        start, flaps = clock(), 0
        while (elapsed := clock() - start) < 1.5:
            while flaps < PER_SECOND - 1 + elapsed * PER_SECOND / 2:
                await mallory.join(room)
                await mallory.send(type="leave", room=room)
                flaps += 1
            await asyncio.sleep(0.02)
        await asyncio.gather(*(member.on_the_way() for member in members))
        elapsed = clock() - start
        assert flaps > PER_SECOND
        for member, before in zip(members, seen, strict=True):
            told = [frame for frame in member.seen[before:] if frame["type"] == "presence"]
            assert len(told) <= elapsed + 1
            assert size_of(told) <= 200 * (elapsed + 1)
