"""The memory broker keeps the contract, and bounds what waits for delivery."""

import pytest

from app.realtime.broker import BrokerUnavailable
from app.realtime.broker.memory import MemoryBackend
from tests.engine.broker.contract import BrokerContract, publish


@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
class TestMemory(BrokerContract):
    """Every promise of the contract."""


async def test_what_memory_cannot_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.realtime.broker.memory.QUEUE_SIZE", 3)
    backend = MemoryBackend("memory://", 10, 3600)
    await backend.subscribe("room")
    await publish(backend, "room", *range(3))
    with pytest.raises(BrokerUnavailable):
        await publish(backend, "room", 3)
