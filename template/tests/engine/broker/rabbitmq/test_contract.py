"""RabbitMQ keeps the contract."""

import pytest

from tests.engine.broker.contract import BrokerContract


@pytest.mark.parametrize("broker_url", ["rabbitmq"], indirect=True)
class TestRabbitmq(BrokerContract):
    """Every promise of the contract."""
