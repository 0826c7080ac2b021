"""Several Redis that work together, shared by the tests. Each runs again for the next test."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.broker.redis.cluster import RedisCluster
from tests.support.broker.redis.sentinel import RedisSentinel


@pytest_asyncio.fixture(scope="session")
async def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisCluster]:
    async with RedisCluster(tmp_path_factory.mktemp("cluster")).running() as cluster:
        yield cluster


@pytest_asyncio.fixture
async def cluster(shared_cluster: RedisCluster) -> AsyncIterator[RedisCluster]:
    """Three masters and three replicas."""
    yield shared_cluster
    await shared_cluster.restore()


@pytest_asyncio.fixture(scope="session")
async def shared_sentinel(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[RedisSentinel]:
    async with RedisSentinel(tmp_path_factory.mktemp("sentinel")).running() as sentinel:
        yield sentinel


@pytest_asyncio.fixture
async def sentinel(shared_sentinel: RedisSentinel) -> AsyncIterator[RedisSentinel]:
    """A master, two replicas and three Sentinels."""
    yield shared_sentinel
    await shared_sentinel.restore()
