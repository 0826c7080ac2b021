"""Kafka keeps the contract."""

import pytest

from tests.engine.broker.contract import BrokerContract


@pytest.mark.parametrize("broker_url", ["kafka"], indirect=True)
class TestKafka(BrokerContract):
    """Every promise of the contract."""
