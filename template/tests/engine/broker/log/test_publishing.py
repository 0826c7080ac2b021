"""What is published while a worker has not read the log up to its end."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from app.realtime.broker import BrokerUnavailable
from app.realtime.broker.base import PUBLISH_DEADLINE
from tests.engine.broker.contract import publish, record, remembered, subscribe
from tests.engine.broker.log.fake import FakeBackend, FakeServer


@pytest_asyncio.fixture
async def backend() -> AsyncIterator[FakeBackend]:
    """A backend that can't reach its log until `flowing` is set."""
    server = FakeServer()
    server.flowing.clear()
    backend = FakeBackend(server)
    await backend.connect()
    yield backend
    await backend.disconnect()


async def test_it_is_appended_once_the_log_is_read(backend: FakeBackend, room: str) -> None:
    answer = asyncio.ensure_future(backend.publish(room, record(1)))
    await asyncio.sleep(0.1)
    assert not answer.done()
    backend.server.flowing.set()
    await answer
    assert await remembered(backend, room) == ["1"]


async def test_it_fails_at_its_deadline(backend: FakeBackend, room: str) -> None:
    clock = asyncio.get_running_loop().time
    start = clock()
    with pytest.raises(BrokerUnavailable):
        await backend.publish(room, record(1))
    assert PUBLISH_DEADLINE - 0.1 < clock() - start < 1
    # Nobody waits for it any more, so it is not appended afterwards.
    backend.server.flowing.set()
    await subscribe(backend, room)
    await publish(backend, room, 2)
    assert await remembered(backend, room) == ["2"]
