"""Every log keeps the contract, if it does what the in-memory log does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.realtime.broker import Backend
from tests.engine.broker.contract import BrokerContract, Connect
from tests.engine.broker.log.fake import FakeBackend, FakeServer


class TestLog(BrokerContract):
    @pytest.fixture
    def connect(self, room: str) -> Connect:
        server = FakeServer()

        @asynccontextmanager
        async def connect(size: int = 1000, seconds: int = 3600) -> AsyncIterator[Backend]:
            backend = FakeBackend(server, size, seconds)
            await backend.connect()
            try:
                await backend.subscribe(room)
                async with asyncio.timeout(5):
                    await backend.history(room, last=0)
                yield backend
            finally:
                await backend.disconnect()

        return connect
