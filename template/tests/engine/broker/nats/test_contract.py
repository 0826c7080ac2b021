"""NATS keeps the contract."""

import pytest

from tests.engine.broker.contract import BrokerContract


@pytest.mark.parametrize("broker_url", ["nats"], indirect=True)
class TestNats(BrokerContract):
    """Every promise of the contract."""
