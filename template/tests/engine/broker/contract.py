"""The contract of `app/realtime/broker/base.py`, as a suite that every backend has to pass.

A test module of a broker inherits from `BrokerContract` and names the broker:

    @pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
    class TestMemory(BrokerContract): ...
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import pairwise

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
from app.realtime.protocol import Position
from tests.support.client import PATIENCE, until

Connect = Callable[..., AbstractAsyncContextManager[Backend]]


def record(name: object) -> Record:
    return Record(id=f"id {name}", content=f"content {name}", message=f"message {name}")


def messages(publications: Sequence[Event]) -> list[str]:
    return [publication.message.removeprefix("message ") for publication in publications]


async def publish(backend: Backend, channel: str, *names: object) -> list[Position]:
    """Publish one record after the other. Returns their positions."""
    positions = [await backend.publish(channel, record(name)) for name in names]
    assert None not in positions
    return [position for position in positions if position is not None]


async def received(backend: Backend, count: int) -> list[Event]:
    """The next events, so many of them."""
    async with asyncio.timeout(PATIENCE):
        return [await backend.next_published() for _ in range(count)]


async def publications(backend: Backend, count: int) -> list[Publication]:
    """The next events, all of which have to be publications."""
    events = await received(backend, count)
    found = [event for event in events if isinstance(event, Publication)]
    assert len(found) == count, events
    return found


async def remembered(
    backend: Backend, channel: str, last: int = 1000, after: Sequence[Position] = ()
) -> list[str]:
    """What history answers, which has to be a chain that ends where the channel stands."""
    history = await backend.history(channel, last=last, after=after)
    chain = list(history.publications)
    assert all(it.position.epoch == history.position.epoch for it in chain)
    for before, behind in pairwise(chain):
        assert behind.previous == before.position.offset
        assert behind.position.offset > before.position.offset
    if chain:
        assert chain[-1].position == history.position
        assert history.reaches_back_to == chain[0].previous
    else:
        assert history.reaches_back_to == history.position.offset
    return messages(chain)


@asynccontextmanager
async def connected(
    url: str, history_size: int = 1000, history_seconds: float = 3600
) -> AsyncIterator[Backend]:
    """A backend that is connecting to its broker."""
    backend = create_backend(url, history_size, history_seconds)
    await backend.connect()
    try:
        yield backend
    finally:
        await backend.disconnect()


async def subscribe(backend: Backend, channel: str) -> None:
    """Subscribe, and wait until every publication is sure to be received."""
    await backend.subscribe(channel)
    async with asyncio.timeout(PATIENCE):
        while True:  # until the broker is reached
            try:
                await backend.history(channel, last=0)
            except BrokerUnavailable:
                await asyncio.sleep(0.05)
            else:
                return


@asynccontextmanager
async def listening(backend: Backend, channel: str) -> AsyncIterator[list[Event]]:
    """The events of a channel, as a listener hears them."""
    heard: list[Event] = []
    await backend.listen(channel, heard.append)
    await backend.history(channel, last=0)  # which waits for the subscription
    try:
        yield heard
    finally:
        await backend.ignore(channel)


class BrokerContract:
    """The suite. Subclasses name their broker."""

    @pytest.fixture
    def connect(self, broker_url: str, room: str) -> Connect:
        """Connects a backend that is subscribed to the channel `room`."""

        @asynccontextmanager
        async def connect(size: int = 1000, seconds: int = 3600) -> AsyncIterator[Backend]:
            async with connected(broker_url, size, seconds) as backend:
                await subscribe(backend, room)
                yield backend

        return connect

    # --- Positions ------------------------------------------------------------------

    async def test_offsets_grow_and_each_names_the_previous_one(
        self, connect: Connect, room: str
    ) -> None:
        async with connect() as backend:
            start = (await backend.history(room, last=0)).position
            positions = await publish(backend, room, *range(20))
            events = await publications(backend, 20)
            assert messages(events) == [str(number) for number in range(20)]
            assert [event.position for event in events] == positions
            assert {position.epoch for position in positions} == {start.epoch}
            offsets = [start.offset, *(position.offset for position in positions)]
            assert offsets == sorted(set(offsets))
            assert [event.previous for event in events] == offsets[:-1]

    async def test_history_has_what_subscribers_receive(self, connect: Connect, room: str) -> None:
        async with connect() as backend:
            await publish(backend, room, *range(20))
            events = await publications(backend, 20)
            history = await backend.history(room, last=1000)
            assert history.position == events[-1].position
            for event, past in zip(events, history.publications, strict=True):
                assert (event.position, event.previous) == (past.position, past.previous)
                assert event.message == past.message

    async def test_channels_have_positions_of_their_own(self, connect: Connect, room: str) -> None:
        async with connect() as backend:
            await publish(backend, room, 1)
            await publish(backend, f"{room}.other", 2)
            await publish(backend, room, 3)
            assert await remembered(backend, room) == ["1", "3"]
            assert messages(await publications(backend, 2)) == ["1", "3"]

    async def test_what_is_submitted_first_is_published_first(
        self, connect: Connect, room: str
    ) -> None:
        async with connect() as backend:
            answers = [backend.submit(room, record(number)) for number in range(1000)]
            events = await publications(backend, 1000)
            assert messages(events) == [str(number) for number in range(1000)]
            for answer, event in zip(answers, events, strict=True):
                position = await answer if isinstance(answer, asyncio.Future) else answer
                assert position == event.position

    async def test_an_offset_is_not_given_again_after_its_channel_is_forgotten(
        self, connect: Connect, room: str
    ) -> None:
        async with connect(seconds=0) as backend:
            (first,) = await publish(backend, room, 1)
            await backend.unsubscribe(room)
            await backend.subscribe(f"{room}.2")
            await backend.history(f"{room}.2", last=0)
            await backend.subscribe(room)
            (second,) = await publish(backend, room, 2)
            assert second.epoch != first.epoch or second.offset > first.offset

    async def test_a_quiet_channel_does_not_move_with_others(
        self, connect: Connect, room: str
    ) -> None:
        async with connect(seconds=0) as backend:
            before = (await backend.history(room, last=0)).position
            await backend.subscribe("another")
            await publish(backend, "another", *range(3))
            await received(backend, 3)
            await backend.unsubscribe("another")
            await backend.subscribe("a third")
            await backend.history("a third", last=0)
            await publish(backend, room, 1)
            (event,) = await publications(backend, 1)
            assert event.position.epoch == before.epoch
            assert event.previous == before.offset

    # --- Once -----------------------------------------------------------------------

    async def test_a_record_is_delivered_once_while_it_is_remembered(
        self, connect: Connect, room: str
    ) -> None:
        async with connect(size=3) as backend:
            first, again, second, third = await publish(backend, room, 1, 1, 2, 1)
            assert first == again == third
            assert second.offset > first.offset
            assert await remembered(backend, room) == ["1", "2"]
            await publish(backend, room, 3, 4)  # which push out the first
            (anew,) = await publish(backend, room, 1)
            assert anew.offset > second.offset
            assert messages(await publications(backend, 5)) == ["1", "2", "3", "4", "1"]

    async def test_an_id_has_one_content(self, connect: Connect, room: str) -> None:
        async with connect() as backend:
            first = await backend.publish(room, Record("id", "content", "message one"))
            again = await backend.publish(room, Record("id", "content", "message two"))
            assert first == again
            with pytest.raises(IdTaken):
                await backend.publish(room, Record("id", "other content", "message three"))
            assert await remembered(backend, room) == ["one"]

    # --- History --------------------------------------------------------------------

    async def test_an_unknown_channel_has_no_history(self, connect: Connect, room: str) -> None:
        async with connect() as backend:
            history = await backend.history(room, last=50)
            assert history.position.epoch
            assert not history.publications
            page = await backend.page(room, before=None, limit=50)
            assert (list(page.publications), page.complete) == ([], True)
            assert page.epoch == history.position.epoch

    async def test_history_has_the_last_ones_and_all_after_a_position(
        self, connect: Connect, room: str
    ) -> None:
        async with connect() as backend:
            at = await publish(backend, room, *range(10))
            assert await remembered(backend, room, last=0) == []
            assert await remembered(backend, room, last=3) == ["7", "8", "9"]
            assert await remembered(backend, room, last=0, after=[at[4]]) == list("56789")
            assert await remembered(backend, room, last=0, after=[at[7], at[5]]) == list("6789")
            assert await remembered(backend, room, last=3, after=[at[8]]) == list("789")
            assert await remembered(backend, room, last=0, after=[at[9]]) == []
            assert await remembered(backend, room, last=99) == list("0123456789")

    async def test_positions_that_history_does_not_reach_add_nothing(
        self, connect: Connect, room: str
    ) -> None:
        async with connect(size=5) as backend:
            at = await publish(backend, room, *range(10))
            other_epoch = Position(epoch="another", offset=at[6].offset)
            later = Position(epoch=at[9].epoch, offset=at[9].offset + 9)
            for unreachable in (at[3], Position(epoch=at[0].epoch, offset=0), other_epoch, later):
                assert await remembered(backend, room, last=2, after=[unreachable]) == ["8", "9"]
            reachable = [at[3], at[4], other_epoch, at[8]]
            assert await remembered(backend, room, last=2, after=reachable) == list("56789")

    @pytest.mark.parametrize(("size", "seconds"), [(0, 3600), (1000, 0)])
    async def test_nothing_is_remembered_without_size_or_seconds(
        self, connect: Connect, room: str, size: int, seconds: int
    ) -> None:
        async with connect(size, seconds) as backend:
            await publish(backend, room, 1, 2, 2)
            events = await publications(backend, 3)
            assert messages(events) == ["1", "2", "2"]
            history = await backend.history(room, last=50)
            assert history.position == events[-1].position
            assert not history.publications

    async def test_only_so_many_are_remembered(self, connect: Connect, room: str) -> None:
        async with connect(size=5) as backend:
            for number in range(12):
                await publish(backend, room, number)
                expected = [str(it) for it in range(max(0, number - 4), number + 1)]
                assert await remembered(backend, room) == expected

    async def test_what_is_too_old_is_forgotten_but_not_the_position(
        self, connect: Connect, room: str
    ) -> None:
        async with connect(seconds=1) as backend:
            await publish(backend, room, 1)
            await asyncio.sleep(0.5)
            (_, last) = [*await publish(backend, room, 2), (await self._position(backend, room))]
            seen: list[list[str]] = []
            async with asyncio.timeout(PATIENCE):
                while (now := await remembered(backend, room)) or not seen:
                    if now not in seen:
                        seen.append(now)
                    await asyncio.sleep(0.02)
            assert seen == [["1", "2"], ["2"]]
            assert await self._position(backend, room) == last
            (anew,) = await publish(backend, room, 1)  # as its id is forgotten
            assert anew.offset > last.offset
            assert await remembered(backend, room) == ["1"]

    async def _position(self, backend: Backend, channel: str) -> Position:
        return (await backend.history(channel, last=0)).position

    # --- Pages ----------------------------------------------------------------------

    async def test_pages_go_back_to_the_oldest_that_is_remembered(
        self, connect: Connect, room: str
    ) -> None:
        async with connect(size=7) as backend:
            await publish(backend, room, *range(10))
            pages: list[list[str]] = []
            before: int | None = None
            while True:
                page = await backend.page(room, before=before, limit=3)
                pages.append(messages(page.publications))
                before = page.publications[0].position.offset
                if page.complete:
                    break
            assert pages == [["7", "8", "9"], ["4", "5", "6"], ["3"]]
            page = await backend.page(room, before=before, limit=3)
            assert (list(page.publications), page.complete) == ([], True)

    async def test_a_page_that_ends_at_the_oldest_is_complete(
        self, connect: Connect, room: str
    ) -> None:
        async with connect() as backend:
            at = await publish(backend, room, *range(6))
            for before, limit, expected, complete in (
                (None, 6, list("012345"), True),
                (None, 5, list("12345"), False),
                (at[3].offset, 3, list("012"), True),
                (at[3].offset + 1, 1, list("3"), False),
                (at[0].offset, 9, [], True),
                (0, 9, [], True),
            ):
                page = await backend.page(room, before=before, limit=limit)
                assert (messages(page.publications), page.complete) == (expected, complete)

    # --- Plain strings --------------------------------------------------------------

    async def test_a_plain_string_goes_to_subscribers_and_has_no_position(
        self, connect: Connect, room: str
    ) -> None:
        async with connect() as backend:
            await publish(backend, room, 1)
            assert await backend.publish(room, "text with spaces") is None
            await publish(backend, room, 2)
            first, plain, second = await received(backend, 3)
            assert plain.message == "text with spaces"
            assert not isinstance(plain, Publication)
            assert isinstance(first, Publication)
            assert isinstance(second, Publication)
            assert second.previous == first.position.offset
            assert await remembered(backend, room) == ["1", "2"]

    async def test_a_channel_that_is_not_subscribed_delivers_nothing(
        self, connect: Connect, room: str
    ) -> None:
        async with connect() as backend:
            await backend.unsubscribe(room)
            await publish(backend, room, 1)
            await backend.subscribe(room)
            await backend.history(room, last=0)
            await publish(backend, room, 2)
            assert messages(await publications(backend, 1)) == ["2"]
            assert await remembered(backend, room) == ["1", "2"]

    # --- Listeners --------------------------------------------------------------------

    async def test_a_listener_is_called_with_every_event_in_order(
        self, connect: Connect, room: str
    ) -> None:
        async with connect() as backend, listening(backend, f"{room}.heard") as heard:
            channel = f"{room}.heard"
            answers: list[object] = []
            for number in range(100):
                answers.append(backend.submit(channel, record(number)))
                answers.append(backend.submit(channel, f"plain {number}"))
            await until(lambda: len(heard) == 200)
            assert messages(heard) == [
                text for number in range(100) for text in (str(number), f"plain {number}")
            ]
            published = [event for event in heard if isinstance(event, Publication)]
            assert len(published) == 100
            for before, behind in pairwise(published):
                assert behind.previous == before.position.offset
            history = await backend.history(channel, last=1000)
            assert history.position == published[-1].position

    async def test_a_listener_misses_nothing_after_the_history_that_it_read(
        self, connect: Connect, room: str
    ) -> None:
        channel = f"{room}.heard"
        async with connect() as backend:
            answers = [backend.submit(channel, record(number)) for number in range(50)]
            async with listening(backend, channel) as heard:
                history = await backend.history(channel, last=1000)
                answers += [backend.submit(channel, record(number)) for number in range(50, 100)]
                await until(lambda: bool(heard) and heard[-1].message == "message 99")
                end = history.position.offset
                live = [
                    event
                    for event in heard
                    if isinstance(event, Publication) and event.position.offset > end
                ]
                received = messages([*history.publications, *live])
                assert received == [str(number) for number in range(100)]
            assert len(answers) == 100

    async def test_a_listener_that_raises_disturbs_nobody(
        self, connect: Connect, room: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        calls: list[Event] = []

        def fail(event: Event) -> None:
            calls.append(event)
            raise LookupError("a fault")

        async with connect() as backend, listening(backend, f"{room}.heard") as heard:
            await backend.listen(room, fail)  # which is subscribed, too
            for number in range(5):
                await publish(backend, room, number)
                await publish(backend, f"{room}.heard", number)
            expected = [str(number) for number in range(5)]
            assert messages(await publications(backend, 5)) == expected
            await until(lambda: len(heard) == len(calls) == 5)
            assert messages(heard) == messages(calls) == expected
        failures = [it for it in caplog.records if it.exc_info]
        assert [vars(it)["channel"] for it in failures] == [room] * 5
        assert "message" not in caplog.text  # which nobody but the members may read

    async def test_a_listener_that_is_ignored_during_a_delivery_hears_nothing_more(
        self, connect: Connect, room: str
    ) -> None:
        async with connect() as backend:
            heard: list[Event] = []
            ignoring: list[asyncio.Task[None]] = []

            def ignore(event: Event) -> None:
                heard.append(event)
                ignoring.append(asyncio.create_task(backend.ignore(room)))

            await backend.listen(room, ignore)
            await publish(backend, room, 1)
            await until(lambda: bool(ignoring))
            await ignoring[0]
            await publish(backend, room, 2)
            # Who is subscribed beside it still is.
            assert messages(await publications(backend, 2)) == ["1", "2"]
            assert messages(heard) == ["1"]

    async def test_of_two_listeners_of_a_channel_the_last_one_hears_each_event_once(
        self, connect: Connect, room: str
    ) -> None:
        channel = f"{room}.heard"
        async with connect() as backend, listening(backend, channel) as first:
            await publish(backend, channel, 1)
            await until(lambda: len(first) == 1)
            second: list[Event] = []
            await backend.listen(channel, second.append)
            await publish(backend, channel, 2, 3)
            await until(lambda: len(second) == 2)
            await backend.ignore(channel)
            await publish(backend, channel, 4)
            await publish(backend, room, "last")
            await publications(backend, 1)
            assert messages(first) == ["1"]
            assert messages(second) == ["2", "3"]

    async def test_listening_and_subscribing_end_separately(
        self, connect: Connect, room: str
    ) -> None:
        async with connect() as backend, listening(backend, room) as heard:
            await publish(backend, room, 1)
            assert messages(await publications(backend, 1)) == ["1"]
            await backend.unsubscribe(room)
            await publish(backend, room, 2)
            await until(lambda: len(heard) == 2)
            await backend.subscribe(room)
            await backend.ignore(room)
            await publish(backend, room, 3)
            assert messages(await publications(backend, 1)) == ["3"]
            assert messages(heard) == ["1", "2"]

    async def test_a_slow_listener_loses_nothing(self, connect: Connect, room: str) -> None:
        async with connect() as backend:
            heard: list[Event] = []

            def take_long(event: Event) -> None:
                time.sleep(0.01)
                heard.append(event)

            await backend.listen(room, take_long)
            positions = await asyncio.gather(
                *(backend.publish(room, record(number)) for number in range(30))
            )
            await until(lambda: len(heard) == 30)
            assert messages(heard) == [str(number) for number in range(30)]
            assert [it.position for it in heard if isinstance(it, Publication)] == positions
            await backend.ignore(room)
