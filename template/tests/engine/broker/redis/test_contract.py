"""Redis keeps the contract."""

import pytest

from tests.engine.broker.contract import BrokerContract


@pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
class TestRedis(BrokerContract):
    """Every promise of the contract."""
