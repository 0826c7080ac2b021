"""A server of the broker that these tests may kill, pause and wipe."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.broker import Server
from tests.support.broker_server import BrokerServer


@pytest_asyncio.fixture(scope="session")
async def shared_broker_server(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[BrokerServer]:
    async with Server(tmp_path_factory.mktemp("broker")).running() as server:
        yield server


@pytest_asyncio.fixture
async def broker_server(shared_broker_server: BrokerServer) -> AsyncIterator[BrokerServer]:
    """A server that keeps its data when it is killed. It runs again for the next test."""
    yield shared_broker_server
    await shared_broker_server.restore()
