"""A RabbitMQ that these tests may disturb."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.broker.rabbitmq import GUEST, RabbitmqServer

LARGEST = 2_000_000
"""Bytes of the largest message that it takes."""


RESTRICTED = {"name": "restricted", "password": "restricted", "tags": []}
"""A user without permissions."""


@pytest_asyncio.fixture(scope="session")
async def shared_rabbitmq(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[RabbitmqServer]:
    folder = tmp_path_factory.mktemp("rabbitmq")
    server = RabbitmqServer(folder, f"max_message_size = {LARGEST}", users=[GUEST, RESTRICTED])
    async with server.running():
        yield server


@pytest_asyncio.fixture
async def rabbitmq(shared_rabbitmq: RabbitmqServer) -> AsyncIterator[RabbitmqServer]:
    """A server that runs again for the next test."""
    yield shared_rabbitmq
    await shared_rabbitmq.restore()
