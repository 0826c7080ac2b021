"""PostgreSQL keeps the contract."""

import pytest

from tests.engine.broker.contract import BrokerContract


@pytest.mark.parametrize("broker_url", ["postgres"], indirect=True)
class TestPostgres(BrokerContract):
    """Every promise of the contract."""
