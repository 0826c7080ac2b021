"""A user of Redis who has exactly the rights that docs/broker/redis.md lists."""

import logging
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from app import PROJECT_NAME
from app.realtime.broker import BrokerUnavailable
from tests.engine.broker.contract import BrokerContract, connected, publish, subscribe
from tests.support.broker.redis.cluster import RedisCluster, ask
from tests.support.broker.redis.sentinel import RedisSentinel
from tests.support.broker.redis.server import RedisServer
from tests.support.client import until
from tests.support.server import PROJECT

USER, PASSWORD = "app", "s3cret"

PAGE = (PROJECT / "docs" / "broker" / "redis.md").read_text()

SINGLE, CLUSTER, SENTINELS = (
    found.replace("PASSWORD", PASSWORD).replace("\\\n", " ").split()
    for found in re.findall(r"```\nACL SETUSER app (.*?)\n```", PAGE, re.DOTALL)
)
"""The rules of the page."""


async def allow(server: RedisServer, *rules: str) -> None:
    """Have a user with exactly these rights."""
    async with server.client() as client:
        await ask(client, "ACL", "SETUSER", USER, *rules)


def as_user(url: str) -> str:
    return url.replace("://", f"://{USER}:{PASSWORD}@")


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    async with RedisServer(tmp_path).running() as server:
        yield server


class TestUserOfRedis(BrokerContract):
    """The contract with a user of one server."""

    @pytest_asyncio.fixture
    async def broker_url(self, server: RedisServer) -> str:
        await allow(server, *SINGLE)
        return as_user(server.url)


class TestUserOfCluster(BrokerContract):
    """The contract with a user of a cluster."""

    @pytest_asyncio.fixture
    async def broker_url(self, cluster: RedisCluster) -> str:
        for node in cluster.nodes:
            await allow(node, *CLUSTER)
        return as_user(cluster.url)


async def test_the_sentinels_may_have_users_of_their_own(
    sentinel: RedisSentinel, room: str
) -> None:
    for node in sentinel.nodes:
        await allow(node, *SINGLE)
    for one in sentinel.sentinels:
        await allow(one, *(rule.replace(PASSWORD, "other") for rule in SENTINELS))
    url = f"{as_user(sentinel.url)}?sentinel_username={USER}&sentinel_password=other"
    async with connected(url) as backend:
        await subscribe(backend, room)
        await publish(backend, room, 1)
        await until(lambda: backend.alive)


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ("+evalsha", "+evalsha"),
        ("+eval", "+eval"),
        ("+script|load", "+script|load"),
        ("+subscribe", "+subscribe"),
        ("+publish", "+publish"),
        ("+hset", "+hset"),
        ("+xadd", "+xadd"),
        ("~", f"~{PROJECT_NAME}:*"),
        ("&", f"&{PROJECT_NAME}:*"),
    ],
)
async def test_a_right_that_is_missing_is_named(
    server: RedisServer, caplog: pytest.LogCaptureFixture, missing: str, named: str
) -> None:
    caplog.set_level(logging.WARNING)
    rights = [
        rule for rule in SINGLE if rule != missing and not (rule[0] == missing and rule[0] in "~&")
    ]
    assert len(rights) == len(SINGLE) - 1
    await allow(server, *rights)
    async with connected(as_user(server.url)) as backend:
        await backend.subscribe("room")
        with suppress(BrokerUnavailable):
            await publish(backend, "room", 1)
        await until(lambda: f"add it with ACL SETUSER {USER}" in caplog.text)
        sentence = next(it for it in caplog.messages if "ACL SETUSER" in it)
        assert f"to the user '{USER}'" in sentence
        # Redis 7.0 does not say which command a script may not call, so all are listed.
        assert named in sentence.partition(f"ACL SETUSER {USER} ")[2].split()
        await allow(server, *SINGLE)
        await until(lambda: backend.alive)


async def test_a_password_that_redis_does_not_take_is_told(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    await allow(server, *SINGLE)
    async with connected(as_user(server.url).replace(PASSWORD, "wrong")) as backend:
        await until(lambda: "correct them in BROKER_URL" in caplog.text)
        assert not backend.alive
    assert "wrong" not in caplog.text


async def test_a_password_that_is_missing_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    server = RedisServer(tmp_path, requirepass=PASSWORD)
    async with server.running(), connected(server.url.replace(f":{PASSWORD}@", "")) as backend:
        await until(lambda: "name them in BROKER_URL" in caplog.text)
        assert not backend.alive
