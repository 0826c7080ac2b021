"""What other clients of Redis may publish: it is counted and skipped."""

import pytest
from redis.asyncio import Redis

from app import PROJECT_NAME
from tests.engine.test_metrics import scrape, scrape_until
from tests.support.pair import deliver_both_ways, pair_in
from tests.support.server import AppServer

pytestmark = pytest.mark.parametrize("broker_url", ["redis"], indirect=True)

POISON = "websocket_broker_poison_total"


@pytest.mark.parametrize(
    "poison",
    [b"", b"\xff", b"{", b"   {}", b"   a {}", b"epoch 1 0", b"epoch one 0 {}", b"epoch 1 1 {}"],
    ids=repr,
)
async def test_a_malformed_payload_is_counted_and_skipped(
    server: AppServer, broker_url: str, room: str, poison: bytes
) -> None:
    async with pair_in(room, [server, server]) as clients, Redis.from_url(broker_url) as redis:
        before = (await scrape(server))[POISON]
        assert await redis.publish(f"{PROJECT_NAME}:0:room:{room}", poison) == 1
        await deliver_both_ways(room, clients)
        assert (await scrape(server))[POISON] == before + 1


async def test_a_message_that_nobody_published_is_counted_and_skipped(
    server: AppServer, broker_url: str, room: str
) -> None:
    async with pair_in(room, [server, server]) as clients, Redis.from_url(broker_url) as redis:
        before = (await scrape(server))[POISON]
        await redis.publish(f"{PROJECT_NAME}:0:room:{room}", b"epoch 7 6 {")
        await deliver_both_ways(room, clients)
        assert (await scrape(server))[POISON] == before + 1


@pytest.mark.parametrize("poison", [b"   {", b"   {}", b"\xff"], ids=repr)
async def test_a_malformed_announcement_is_counted_and_skipped(
    server: AppServer, broker_url: str, room: str, poison: bytes
) -> None:
    async with pair_in(room, [server, server]) as (alice, bob), Redis.from_url(broker_url) as redis:
        before = (await scrape(server))[POISON]
        await redis.publish(f"{PROJECT_NAME}:0:presence", poison)
        await scrape_until(server, **{POISON: before + 1})
        await bob.send(type="leave", room=room)
        await alice.expect("presence", user=bob.user, event="leave")
