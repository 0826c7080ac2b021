"""The memory broker keeps the contract, and bounds what it remembers."""

import gc
import secrets
import tracemalloc
from sys import getsizeof

import pytest
from broadcaster import Event

from app.realtime.broker import Resubscribed
from app.realtime.broker.memory import CHANNEL_BYTES, RECORD_BYTES, MemoryBackend
from app.realtime.identity import User
from app.realtime.publisher import Publisher
from tests.engine.broker.contract import (
    BrokerContract,
    messages,
    publications,
    publish,
    received,
    record,
    remembered,
)
from tests.engine.example.events import ChatMessage


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
    one = record(10)
    size = RECORD_BYTES + getsizeof(one.id) + getsizeof(one.message)
    most = 4 * size + 2 * CHANNEL_BYTES
    backend = MemoryBackend("memory://", 10, 3600, history_bytes=most)
    for number, channel in enumerate(("old", "older", "old", "new", "new")):
        await publish(backend, channel, 10 + number)
    # Of five records, one is too much: all of the channel that was used longest ago goes.
    assert await remembered(backend, "older") == []
    assert len(await remembered(backend, "old")) == 2
    await publish(backend, "new", *range(20, 50))
    count = (most - CHANNEL_BYTES) // size
    assert await remembered(backend, "new") == [str(number) for number in range(50 - count, 50)]
    assert backend._size == CHANNEL_BYTES + count * size
    assert set(backend._channels) == {"new"}


async def test_what_is_forgotten_does_not_count() -> None:
    for size, seconds in ((3, 3600), (0, 3600), (1000, 0)):
        backend = MemoryBackend("memory://", size, seconds, history_bytes=1_000_000)
        await backend.listen("heard", print)
        for number in range(20):
            await publish(backend, f"room {number % 3}", number)
            await publish(backend, "heard", number)
        kept = [one for known in backend._channels.values() for one in known.history]
        channels = sum(bool(known.history) for known in backend._channels.values())
        assert backend._size == sum(one.size for one in kept) + channels * CHANNEL_BYTES
        assert (len(kept), channels) == ((12, 4) if size == 3 else (0, 0))


@pytest.mark.parametrize(
    ("channels", "records", "text"),
    [
        (1, 2000, "x" * 100),
        (20, 100, "x" * 100),
        (2000, 1, "x" * 100),
        (1000, 2, ""),
        (500, 1, "x" * 4096),
        (1, 500, "x" * 4095 + "😀"),
    ],
    ids=["one room", "some rooms", "many rooms", "short", "long", "wide"],
)
async def test_the_memory_that_history_takes_is_known(
    channels: int, records: int, text: str
) -> None:
    backend = MemoryBackend("memory://", 10_000, 3600)
    publisher = Publisher(backend)
    alice = User(id="alice", name="Alice")
    publisher.submit("room", ChatMessage.model_construct(text=text), "first", alice)
    counted = backend._size
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(channels * records):
        event = ChatMessage.model_construct(text=text)
        publisher.submit(f"room {number % channels}", event, secrets.token_hex(8), alice)
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert backend._size - counted == pytest.approx(taken, rel=0.3)


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
