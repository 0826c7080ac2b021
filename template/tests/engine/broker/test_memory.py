"""The memory broker keeps the contract, and bounds what it remembers."""

import pytest
from broadcaster import Event

from app.realtime.broker import Resubscribed
from app.realtime.broker.memory import RECORD_BYTES, MemoryBackend
from tests.engine.broker.contract import (
    BrokerContract,
    messages,
    publications,
    publish,
    received,
    record,
    remembered,
)


@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
class TestMemory(BrokerContract):
    """Every promise of the contract."""


async def test_reading_a_channel_stores_nothing() -> None:
    backend = MemoryBackend("memory://", 10, 3600)
    for number in range(20):
        await backend.history(f"room {number}", last=50)
        await backend.page(f"room {number}", before=None, limit=50)
    assert not backend._channels


async def test_what_broadcaster_does_not_take_in_time_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.realtime.broker.base.QUEUE_SIZE", 3)
    backend = MemoryBackend("memory://", 10, 3600)
    await backend.subscribe("room")
    await publish(backend, "room", *range(5))
    assert messages(await publications(backend, 3)) == ["0", "1", "2"]
    (lost,) = await received(backend, 1)
    assert isinstance(lost, Resubscribed)
    assert lost.channel == "room"
    await publish(backend, "room", 5)
    assert messages(await publications(backend, 1)) == ["5"]


async def test_what_all_channels_remember_is_bounded() -> None:
    size = RECORD_BYTES + len(record(10).message)
    backend = MemoryBackend("memory://", 10, 3600, history_bytes=4 * size)
    for number, channel in enumerate(("old", "older", "old", "new", "new")):
        await publish(backend, channel, 10 + number)
    # Of five records, one is too much: all of the channel that was used longest ago goes.
    assert await remembered(backend, "older") == []
    assert len(await remembered(backend, "old")) == 2
    await publish(backend, "new", *range(20, 30))
    assert await remembered(backend, "new") == ["26", "27", "28", "29"]
    assert backend._size == 4 * size
    assert set(backend._channels) == {"new"}


async def test_nobody_takes_what_is_forgotten_for_received() -> None:
    backend = MemoryBackend("memory://", 10, 3600, history_bytes=1)
    before = (await backend.history("room", last=0)).position
    (missed,) = await publish(backend, "room", 1)
    history = await backend.history("room", last=10, after=[before, missed])
    assert not history.publications
    assert history.position.epoch not in {before.epoch, missed.epoch}


async def test_a_listener_keeps_the_position_of_a_channel_whose_history_is_forgotten() -> None:
    backend = MemoryBackend("memory://", 10, 3600, history_bytes=1)
    heard: list[Event] = []
    await backend.listen("room", heard.append)
    positions = await publish(backend, "room", 1, 2)
    assert [event.message for event in heard] == ["message 1", "message 2"]
    history = await backend.history("room", last=10, after=positions[:1])
    assert history.position == positions[-1]
    assert history.reaches_back_to == positions[-1].offset
    await backend.ignore("room")
    assert not backend._channels


async def test_a_room_that_nobody_published_in_leaves_nothing_behind() -> None:
    backend = MemoryBackend("memory://", 10, 3600)
    for number in range(20):
        await backend.listen(f"room {number}", print)
        await backend.history(f"room {number}", last=50)
        await backend.ignore(f"room {number}")
    assert not backend._channels
