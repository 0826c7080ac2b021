"""Valkey keeps the contract, alone and as a cluster."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.engine.broker.contract import BrokerContract
from tests.support.broker.redis.cluster import RedisCluster
from tests.support.broker.redis.server import FORGETFUL, RedisServer

BINARY = "valkey-server"


@pytest_asyncio.fixture(scope="session")
async def valkey(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("valkey"), BINARY, **FORGETFUL)
    async with server.running():
        yield server


@pytest_asyncio.fixture(scope="session")
async def valkey_cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisCluster]:
    cluster = RedisCluster(tmp_path_factory.mktemp("valkey-cluster"), BINARY)
    async with cluster.running():
        yield cluster


class TestValkey(BrokerContract):
    """Every promise of the contract."""

    @pytest.fixture
    def broker_url(self, valkey: RedisServer) -> str:
        return valkey.url


class TestValkeyCluster(BrokerContract):
    """The same with three masters."""

    @pytest.fixture
    def broker_url(self, valkey_cluster: RedisCluster) -> str:
        return valkey_cluster.url
