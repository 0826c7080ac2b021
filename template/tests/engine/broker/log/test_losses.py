"""A log that lost its end, and grew on before those who had read it could look."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from app.realtime.broker import Resubscribed
from app.realtime.broker.log import reading, supervisor
from tests.engine.broker.contract import listening, publish, record, remembered, subscribe
from tests.engine.broker.log.fake import FakeBackend, FakeServer
from tests.support.client import until


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "CANARY_INTERVAL", 0.1)
    monkeypatch.setattr(supervisor, "BACKOFF_CAP", 0.05)


async def start(stack: AsyncExitStack, server: FakeServer, channel: str) -> FakeBackend:
    backend = FakeBackend(server)
    await backend.connect()
    stack.push_async_callback(backend.disconnect)
    await subscribe(backend, channel)
    return backend


@pytest.mark.parametrize("more", [0, 40])
async def test_a_slow_worker_that_had_read_the_end_objects(
    room: str, more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`more` entries follow, so that others don't know any more what was in that place."""
    monkeypatch.setattr(reading, "MAX_PLACES", 20)
    server = FakeServer(partitions=1)
    async with AsyncExitStack() as stack:
        one, two = [await start(stack, server, room) for _ in range(2)]
        heard = [await stack.enter_async_context(listening(it, room)) for it in (one, two)]
        server.frozen.add(two)
        await asyncio.sleep(0.1)  # what it reads at the moment
        (lost,) = await publish(one, room, "lost")
        server.frozen.add(one)
        del server.entries[0][lost.offset - 1 :]
        server.frozen.discard(two)
        # Appended together, neither of them says that its writer has read the other one.
        await asyncio.gather(*(two.publish(room, record(name)) for name in ("a", "b")))
        await publish(two, room, *range(more))
        server.frozen.discard(one)

        async def epochs() -> set[str]:
            return {(await it.history(room, last=0)).position.epoch for it in (one, two)}

        async with asyncio.timeout(5):
            while lost.epoch in (found := await epochs()) or len(found) > 1:
                await asyncio.sleep(0.02)
        await until(lambda: all(any(isinstance(it, Resubscribed) for it in h) for h in heard))
        await publish(one, room, "end")
        histories = [await remembered(it, room) for it in (one, two)]
        assert histories[0] == histories[1]
        assert histories[0][-1] == "end"
        assert "lost" not in histories[0]
