"""Redis with TLS, which wants certificates of its clients."""

import logging
from pathlib import Path

import pytest

from tests.engine.broker.contract import connected, publications, publish, remembered, subscribe
from tests.support.broker.redis.cluster import RedisCluster
from tests.support.broker.redis.sentinel import RedisSentinel
from tests.support.broker.redis.server import RedisServer, find_binary_with_tls
from tests.support.broker.redis.tls import Certificates
from tests.support.client import until


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    folder = tmp_path / "certificates"
    folder.mkdir()
    return Certificates(folder)


@pytest.mark.parametrize("kind", [RedisServer, RedisCluster, RedisSentinel])
async def test_messages_go_through_tls(
    tmp_path: Path,
    certificates: Certificates,
    room: str,
    kind: type[RedisServer | RedisCluster | RedisSentinel],
) -> None:
    server = kind(tmp_path, find_binary_with_tls(), certificates)
    assert server.url.startswith("rediss")
    async with server.running(), connected(server.url) as backend:
        await subscribe(backend, room)
        await publish(backend, room, *range(3))
        assert len(await publications(backend, 3)) == 3
        assert await remembered(backend, room) == ["0", "1", "2"]
        await until(lambda: backend.alive)


async def test_a_certificate_that_is_not_trusted_is_told(
    tmp_path: Path, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    server = RedisServer(tmp_path, find_binary_with_tls(), certificates)
    async with server.running(), connected(server.url.partition("?")[0]) as backend:
        await until(lambda: "name its authority with ssl_ca_certs" in caplog.text)
        assert not backend.alive
