"""Outages of the broker: clients are told, the server survives, and nothing is lost in silence."""

import asyncio

from tests.support.auth import sign_in
from tests.support.broker_server import BrokerServer
from tests.support.client import JSON, PATIENCE, Client, open_client
from tests.support.pair import deliver_both_ways, pair_in, start_pair, wait_until_ready
from tests.support.server import StartServer


def received(client: Client) -> list[JSON]:
    """The live messages that a client received, which have to be in order and without repeats."""
    joined_at = next(n for n, frame in enumerate(client.seen) if frame["type"] == "joined")
    messages = [frame for frame in client.seen[joined_at:] if frame["type"] == "message"]
    offsets = [frame["offset"] for frame in messages]
    assert offsets == sorted(set(offsets))
    return messages


def frames_of(client: Client, kind: str) -> list[JSON]:
    return [frame for frame in client.seen if frame["type"] == kind]


# --- Connections that are cut ---------------------------------------------------


async def test_nothing_is_lost_or_doubled_when_connections_are_cut_under_load(
    start_server: StartServer, broker_server: BrokerServer, room: str
) -> None:
    servers = await start_pair(start_server, broker_server.url)
    async with pair_in(room, servers) as (alice, bob):
        names = []
        for number in range(200):
            names.append(await alice.publish(room, "hello"))
            if number % 50 == 25:
                await broker_server.cut()
            await asyncio.sleep(0.005)
        await wait_until_ready(servers)
        names.append(await alice.publish(room, "last"))
        for client in (alice, bob):
            await client.expect("message", id=names[-1])
            assert not frames_of(client, "resync")
        ids = [frame["id"] for frame in received(alice)]
        assert ids == [frame["id"] for frame in received(bob)]
        # A publish whose answer was lost may be refused and delivered nevertheless.
        refused = {frame["ref"] for frame in frames_of(alice, "error")}
        assert [name for name in names if name in ids] == ids
        assert set(names) == refused | set(ids)


# --- What was acknowledged ------------------------------------------------------


async def test_acknowledged_messages_survive_a_kill_of_the_broker(
    start_server: StartServer, broker_server: BrokerServer, room: str
) -> None:
    servers = await start_pair(start_server, broker_server.url)
    async with pair_in(room, servers) as (alice, bob):
        joined = frames_of(alice, "joined")[0]
        sent = 0
        for _ in range(2):
            publishing = asyncio.create_task(publish_until_refused(alice, room))
            await bob.messages(20)
            broker_server.kill()
            async with asyncio.timeout(2 * PATIENCE):
                sent += await publishing
            await asyncio.sleep(0.2)
            await broker_server.start()
            await wait_until_ready(servers)
        last = await alice.publish(room, "last")
        for client in (alice, bob):
            await client.expect("message", id=last)
            assert not frames_of(client, "resync")
        ids = [frame["id"] for frame in received(alice)]
        assert ids == [frame["id"] for frame in received(bob)]
        assert len(ids) == len(set(ids)) <= sent + 1
        back = await alice.join(room, joined)
        assert back["recovered"] is True
        assert back["epoch"] == joined["epoch"]
        assert [frame["id"] for frame in await alice.messages(len(ids))] == ids
        # Every publish was answered, one way or the other.
        refused = {frame["ref"] for frame in frames_of(alice, "error")}
        assert len(refused | set(ids)) == sent + 1


async def publish_until_refused(client: Client, room: str) -> int:
    """Publish and read until a publish is refused. Returns how many there were."""
    # A publish whose answer was lost may be refused and delivered nevertheless, when the broker
    # is back.
    names = [await client.publish(room, "hello")]
    answered: set[str] = set()
    refused = False
    while not refused:
        try:
            async with asyncio.timeout(1):
                frame = await client.receive()
        except TimeoutError:
            # The broker took all of them and ended before it answered: the next is refused.
            names.append(await client.publish(room, "hello"))
            continue
        if frame["type"] == "message":
            answered.add(frame["id"])
        elif frame["type"] == "error":
            assert frame["code"] == "unavailable"
            answered.add(frame["ref"])
            refused = refused or frame["ref"] in names
        if not refused and len(names) - len(answered) < 10:
            names.append(await client.publish(room, "hello"))
    return len(names)


async def test_members_are_told_when_the_broker_lost_everything(
    start_server: StartServer, broker_server: BrokerServer, room: str
) -> None:
    servers = await start_pair(start_server, broker_server.url)
    async with pair_in(room, servers) as clients:
        await deliver_both_ways(room, clients)
        joined = frames_of(clients[0], "joined")[0]
        broker_server.kill()
        await broker_server.lose_data()
        await broker_server.start()
        await wait_until_ready(servers)
        for client in clients:
            resync = await client.expect("resync", room=room)
            assert resync["epoch"] != joined["epoch"]
        await clients[0].publish(room, "live")
        for client in clients:
            await client.expect("message", data={"text": "live"})
        back = [await client.join(room, joined) for client in clients]
        assert [it["recovered"] for it in back] == [False, False]
        assert back[0]["epoch"] == back[1]["epoch"] != joined["epoch"]


# --- A broker that is gone, or silent -------------------------------------------


async def refuse_within(seconds: float, client: Client, room: str) -> None:
    """Check that a publish is refused in time."""
    clock = asyncio.get_running_loop().time
    started_at = clock()
    name = await client.publish(room, "lost")
    await client.expect("error", code="unavailable", room=room, ref=name)
    assert clock() - started_at < seconds


async def test_clients_are_told_of_an_outage_and_the_server_survives_it(
    start_server: StartServer, broker_server: BrokerServer, room: str
) -> None:
    servers = await start_pair(start_server, broker_server.url)
    other = f"{room}.2"[-64:]
    async with pair_in(room, servers) as clients:
        broker_server.kill()
        await refuse_within(1.3, clients[0], room)
        for server in servers:
            await server.wait_for_status("/readyz", 503)
        await clients[0].send(type="join", room=other)
        await clients[0].expect("error", code="unavailable", room=other)
        await asyncio.sleep(3)  # so that the waits between attempts have grown
        for server in servers:
            await server.wait_for_status("/readyz", 503)
            await server.wait_for_status("/healthz", 200)
        await broker_server.start()
        await wait_until_ready(servers)
        await deliver_both_ways(room, clients)
        await clients[0].join(other)
        for client in clients:
            assert not frames_of(client, "resync")


async def test_a_server_starts_while_the_broker_is_away(
    start_server: StartServer, broker_server: BrokerServer, room: str
) -> None:
    broker_server.kill()
    server = await start_server(BROKER_URL=broker_server.url, PING_INTERVAL=1)
    await server.wait_for_status("/readyz", 503)
    await broker_server.start()
    await wait_until_ready([server])
    async with pair_in(room, [server, server]) as clients:
        await deliver_both_ways(room, clients)


async def test_a_silent_broker_is_noticed_and_the_server_survives_it(
    start_server: StartServer, broker_server: BrokerServer, room: str
) -> None:
    servers = await start_pair(start_server, broker_server.url)
    async with pair_in(room, servers) as clients:
        broker_server.pause()
        await refuse_within(1.3, clients[0], room)
        for server in servers:
            await server.wait_for_status("/readyz", 503, patience=15)
        async with asyncio.timeout(PATIENCE):  # not a second for each
            names = [await clients[0].publish(room, "late") for _ in range(20)]
            for name in names:
                await clients[0].expect("error", code="unavailable", ref=name)
        broker_server.resume()
        await wait_until_ready(servers)
        await deliver_both_ways(room, clients)


async def test_members_are_correct_after_an_outage(
    start_server: StartServer, broker_server: BrokerServer, room: str
) -> None:
    servers = await start_pair(start_server, broker_server.url)
    async with pair_in(room, servers) as (alice, bob):
        await alice.expect("presence", user=bob.user, event="join")
        broker_server.kill()
        await bob.socket.close()  # which no other worker learns
        await broker_server.start()
        await alice.expect("presence", user=bob.user, event="leave")
        credentials = await sign_in(servers[1].url, "carol")
        async with open_client(servers[1].ws_url, credentials) as carol:
            joined = await carol.join(room)
            everybody = sorted([alice.user, carol.user], key=lambda it: (it["name"], it["id"]))
            assert joined["members"] == everybody
            await alice.expect("presence", user=carol.user, event="join")
            assert (await alice.join(room))["members"] == joined["members"]
