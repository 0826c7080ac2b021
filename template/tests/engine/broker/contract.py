"""What a channel remembers, with every backend."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from broadcaster import Event

from app.realtime.broker import (
    Backend,
    BrokerUnavailable,
    IdTaken,
    Publication,
    Record,
    create_backend,
)
from app.realtime.broker.memory import MemoryBackend
from app.realtime.protocol import Position
from tests.support.client import PATIENCE

Connect = Callable[..., AbstractAsyncContextManager[Backend]]


@pytest.fixture
def connect(broker_url: str, room: str) -> Connect:
    """Connects a backend that is subscribed to the room."""

    @asynccontextmanager
    async def connect(size: int = 1000, seconds: int = 3600) -> AsyncIterator[Backend]:
        backend = create_backend(broker_url, size, seconds)
        await backend.connect()
        try:
            await backend.subscribe(room)
            await backend.history(room, last=0, after=None, seen=None)  # which waits until it is
            yield backend
        finally:
            await backend.disconnect()

    return connect


async def publish(backend: Backend, room: str, *numbers: int) -> None:
    for number in numbers:
        await backend.publish(room, Record(f"id {number}", "content", f"message {number}"))


async def heard(backend: Backend, count: int) -> list[Event]:
    """What is published next."""
    async with asyncio.timeout(PATIENCE):
        return [await backend.next_published() for _ in range(count)]


async def remembered(
    backend: Backend, room: str, last: int = 1000, after: int | None = None
) -> list[int]:
    """The offsets of what a channel answers that it remembers, which end at its position."""
    history = await backend.history(room, last=last, after=after, seen=None)
    offsets = [publication.position.offset for publication in history.publications]
    end = history.position.offset
    assert offsets == list(range(end + 1 - len(offsets), end + 1))
    assert {p.position.epoch for p in history.publications} <= {history.position.epoch}
    return offsets


async def test_a_channel_begins_at_zero(connect: Connect, room: str) -> None:
    async with connect() as backend:
        history = await backend.history(room, last=50, after=None, seen=None)
        assert history.position.epoch
        assert history.position.offset == 0
        assert not history.publications


async def test_what_is_heard_is_what_is_remembered(connect: Connect, room: str) -> None:
    async with connect() as backend:
        beginning = await backend.history(room, last=0, after=None, seen=None)
        await publish(backend, room, *range(20))
        events = await heard(backend, 20)
        history = await backend.history(room, last=1000, after=None, seen=None)
        assert [event.message for event in events] == [f"message {n}" for n in range(20)]
        for event, past in zip(events, history.publications, strict=True):
            assert isinstance(event, Publication)
            assert (event.position, event.message) == (past.position, past.message)
        assert history.position == history.publications[-1].position
        assert history.position.epoch == beginning.position.epoch


async def test_the_last_and_all_after_an_offset_are_answered(connect: Connect, room: str) -> None:
    async with connect() as backend:
        await publish(backend, room, *range(10))
        assert await remembered(backend, room, last=0) == []
        assert await remembered(backend, room, last=3) == [8, 9, 10]
        assert await remembered(backend, room, last=0, after=5) == [6, 7, 8, 9, 10]
        assert await remembered(backend, room, last=3, after=9) == [8, 9, 10]
        assert await remembered(backend, room, last=0, after=10) == []
        assert await remembered(backend, room, last=0, after=99) == []
        assert await remembered(backend, room, last=99, after=0) == list(range(1, 11))


@pytest.mark.parametrize(("size", "seconds"), [(0, 3600), (1000, 0)])
async def test_nothing_is_remembered_without_size_or_seconds(
    connect: Connect, room: str, size: int, seconds: int
) -> None:
    async with connect(size, seconds) as backend:
        await publish(backend, room, 1, 2, 2)
        events = await heard(backend, 3)
        assert [event.message for event in events] == ["message 1", "message 2", "message 2"]
        history = await backend.history(room, last=50, after=0, seen=None)
        assert history.position.offset == 3
        assert not history.publications


async def test_only_so_many_are_remembered(connect: Connect, room: str) -> None:
    async with connect(size=5) as backend:
        for number in range(1, 13):
            await publish(backend, room, number)
            assert await remembered(backend, room) == list(range(max(1, number - 4), number + 1))


async def test_what_is_too_old_is_forgotten_but_not_the_position(
    connect: Connect, room: str
) -> None:
    async with connect(seconds=1) as backend:
        await publish(backend, room, 1)
        await asyncio.sleep(0.5)
        await publish(backend, room, 2)
        seen: list[list[int]] = []
        async with asyncio.timeout(PATIENCE):
            while (now := await remembered(backend, room)) or not seen:
                if now not in seen:
                    seen.append(now)
                await asyncio.sleep(0.02)
        assert seen == [[1, 2], [2]]
        history = await backend.history(room, last=50, after=0, seen=None)
        assert history.position.offset == 2
        await publish(backend, room, 1, 2)
        assert await remembered(backend, room) == [3, 4]


async def test_a_record_is_published_once_while_it_is_remembered(
    connect: Connect, room: str
) -> None:
    async with connect(size=3) as backend:
        await publish(backend, room, 1, 1, 2, 1)
        assert await remembered(backend, room) == [1, 2]
        await publish(backend, room, 3, 4)  # which push out the first
        await publish(backend, room, 1)
        messages = [event.message for event in await heard(backend, 5)]
        assert messages == [f"message {number}" for number in (1, 2, 3, 4, 1)]


async def test_an_id_stands_for_one_content(connect: Connect, room: str) -> None:
    async with connect() as backend:
        await backend.publish(room, Record("id", "content", "sent at one"))
        await backend.publish(room, Record("id", "content", "sent at two"))
        with pytest.raises(IdTaken):
            await backend.publish(room, Record("id", "another content", "sent at three"))
        assert await remembered(backend, room) == [1]


async def test_a_mere_string_goes_to_who_listens_and_has_no_place(
    connect: Connect, room: str
) -> None:
    async with connect() as backend:
        await backend.publish(room, "text")
        (event,) = await heard(backend, 1)
        assert event.message == "text"
        assert not isinstance(event, Publication)
        assert await remembered(backend, room) == []


async def test_channels_are_apart(connect: Connect, room: str) -> None:
    async with connect() as backend:
        await publish(backend, room, 1)
        await publish(backend, f"{room}.other", 1)
        await publish(backend, room, 2)
        assert await remembered(backend, room) == [1, 2]
        events = await heard(backend, 2)
        assert [event.message for event in events] == ["message 1", "message 2"]


async def test_what_was_submitted_first_comes_first(connect: Connect, room: str) -> None:
    async with connect() as backend:
        answers: list[asyncio.Future[None] | None] = [
            backend.submit(room, Record(f"id {number}", "content", f"message {number}"))
            for number in range(1000)
        ]
        messages = [event.message for event in await heard(backend, 1000)]
        assert messages == [f"message {number}" for number in range(1000)]
        for answer in answers:
            if answer is not None:
                await answer


async def test_where_a_channel_stands_does_not_depend_on_others(
    connect: Connect, room: str
) -> None:
    async with connect(seconds=0) as backend:
        before = (await backend.history(room, last=0, after=None, seen=None)).position
        await backend.subscribe("another")
        await publish(backend, "another", *range(3))
        await heard(backend, 3)
        await backend.unsubscribe("another")
        await backend.subscribe("a third")
        await backend.history("a third", last=0, after=None, seen=None)  # others are forgotten
        await publish(backend, room, 1)
        event = (await heard(backend, 1))[0]
        assert isinstance(event, Publication)
        assert event.position == Position(epoch=before.epoch, offset=before.offset + 1)


async def test_what_memory_cannot_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.realtime.broker.memory.QUEUE_SIZE", 3)
    backend = MemoryBackend("memory://", 10, 3600)
    await backend.subscribe("room")
    await publish(backend, "room", *range(3))
    with pytest.raises(BrokerUnavailable):
        await publish(backend, "room", 3)
