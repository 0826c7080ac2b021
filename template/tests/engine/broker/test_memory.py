"""The memory broker keeps the contract, and bounds what waits for delivery."""

import asyncio

import pytest

from app.realtime.broker import BrokerUnavailable
from app.realtime.broker.memory import MemoryBackend
from tests.engine.broker.contract import BrokerContract, publish


@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
class TestMemory(BrokerContract):
    """Every promise of the contract."""


async def test_reading_a_channel_stores_nothing() -> None:
    backend = MemoryBackend("memory://", 10, 3600)
    for number in range(20):
        await backend.history(f"room {number}", last=50)
        await backend.page(f"room {number}", before=None, limit=50)
    assert not backend._channels


async def test_what_a_subscription_stored_is_forgotten_with_the_history() -> None:
    backend = MemoryBackend("memory://", 10, history_seconds=0.05)
    for number in range(20):
        await backend.subscribe(f"room {number}")
        await backend.history(f"room {number}", last=50)
        await backend.unsubscribe(f"room {number}")
    await asyncio.sleep(0.1)
    await backend.history("another", last=50)
    assert not backend._channels


async def test_what_memory_cannot_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.realtime.broker.memory.QUEUE_SIZE", 3)
    backend = MemoryBackend("memory://", 10, 3600)
    await backend.subscribe("room")
    await publish(backend, "room", *range(3))
    with pytest.raises(BrokerUnavailable):
        await publish(backend, "room", 3)
