"""A NATS of the test's own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.support.broker.nats import NatsServer


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with NatsServer(tmp_path).running() as server:
        yield server
