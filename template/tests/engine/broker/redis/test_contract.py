"""Redis keeps the contract: one server, a cluster, and a master that Sentinels name."""

import pytest

from tests.engine.broker.contract import BrokerContract
from tests.support.broker.redis.cluster import RedisCluster
from tests.support.broker.redis.sentinel import RedisSentinel


@pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
class TestRedis(BrokerContract):
    """Every promise of the contract."""


class TestRedisCluster(BrokerContract):
    """The same with three masters."""

    @pytest.fixture
    def broker_url(self, cluster: RedisCluster) -> str:
        return cluster.url


class TestRedisSentinel(BrokerContract):
    """The same with a master that Sentinels name."""

    @pytest.fixture
    def broker_url(self, sentinel: RedisSentinel) -> str:
        return sentinel.url
