"""What a broker's backend does when its server is killed, silent or wiped."""

import asyncio
from contextlib import suppress
from itertools import count, pairwise

import pytest
from broadcaster import Event

from app.realtime.broker import (
    Backend,
    BrokerUnavailable,
    Publication,
    Record,
    Resubscribed,
    base,
)
from app.realtime.protocol import Position
from tests.engine.broker.contract import (
    connected,
    publications,
    publish,
    received,
    record,
    remembered,
    subscribe,
)
from tests.support.broker_server import BrokerServer
from tests.support.client import PATIENCE, until

# --- Two processes ----------------------------------------------------------------


async def test_a_record_of_two_processes_is_delivered_once(
    broker_server: BrokerServer, room: str
) -> None:
    async with connected(broker_server.url) as one, connected(broker_server.url) as other:
        for backend in (one, other):
            await subscribe(backend, room)
        both = (one, other)
        answers = await asyncio.gather(
            *(backend.publish(room, record("once")) for backend in both * 2)
        )
        assert len(set(answers)) == 1
        await other.publish(room, record("next"))
        for backend in both:
            first, second = await publications(backend, 2)
            assert (first.message, second.message) == ("message once", "message next")
            assert first.position == answers[0]
            assert second.previous == first.position.offset


async def test_processes_that_publish_at_once_share_one_sequence(
    broker_server: BrokerServer, room: str
) -> None:
    async with connected(broker_server.url) as one, connected(broker_server.url) as other:
        for backend in (one, other):
            await subscribe(backend, room)
        names = [str(number) for number in range(300)]
        publishing = (
            (one, other)[number % 2].publish(room, record(name))
            for number, name in enumerate(names)
        )
        positions = await asyncio.gather(*publishing)
        heard = [await publications(backend, len(names)) for backend in (one, other)]
        for events in heard:
            assert all(b.previous == a.position.offset for a, b in pairwise(events))
        orders = [[event.message for event in events] for events in heard]
        assert orders[0] == orders[1]
        assert sorted(orders[0]) == sorted(f"message {name}" for name in names)
        at = {event.message: event.position for event in heard[0]}
        assert positions == [at[f"message {name}"] for name in names]


async def test_what_one_process_knows_another_one_reads(
    broker_server: BrokerServer, room: str
) -> None:
    async with connected(broker_server.url) as one:
        await subscribe(one, room)
        at = await publish(one, room, *range(10))
        async with connected(broker_server.url) as other:
            await subscribe(other, room)
            assert await remembered(other, room) == [str(number) for number in range(10)]
            assert await remembered(other, room, last=0, after=[at[6]]) == ["7", "8", "9"]
            assert (await other.history(room, last=0)).position == at[-1]


# --- Large and many messages ----------------------------------------------------------


@pytest.mark.parametrize("size", [7_900, 65_536, 200_000])
async def test_a_large_message_arrives_whole(
    broker_server: BrokerServer, room: str, size: int
) -> None:
    text = 'ä漢😀"\\\x01 ' * (size // 16)
    async with connected(broker_server.url) as backend:
        await subscribe(backend, room)
        await publish(backend, room, "before")
        position = await backend.publish(room, Record("large", "content", text))
        await backend.publish(room, text)
        await publish(backend, room, "after")
        before, large, plain, after = await received(backend, 4)
        assert (large.message, plain.message) == (text, text)
        assert isinstance(large, Publication)
        assert large.position == position
        assert isinstance(after, Publication)
        assert after.previous == large.position.offset
        assert [it.message for it in (before, after)] == ["message before", "message after"]
        history = await backend.history(room, last=9)
        assert [it.message for it in history.publications] == [before.message, text, after.message]


async def test_what_waits_for_a_silent_broker_is_bounded(
    broker_server: BrokerServer, room: str
) -> None:
    async with connected(broker_server.url) as backend:
        await subscribe(backend, room)
        broker_server.pause()
        clock = asyncio.get_running_loop().time
        started_at = clock()
        publishing = (backend.publish(room, record(number)) for number in range(20_000))
        answers = await asyncio.gather(*publishing, return_exceptions=True)
        assert clock() - started_at < 10
        assert {type(it) for it in answers} == {BrokerUnavailable}
        assert any("wait" in str(it) for it in answers)  # too many
        broker_server.resume()
        await until(lambda: backend.alive)
        await publish(backend, room, "after")


# --- Deadlines --------------------------------------------------------------------------


async def test_a_silent_broker_is_given_up_after_the_deadline(
    broker_server: BrokerServer, room: str
) -> None:
    async with connected(broker_server.url) as backend:
        await subscribe(backend, room)
        broker_server.pause()
        clock = asyncio.get_running_loop().time
        for attempt in (
            lambda: backend.publish(room, record("late")),
            lambda: backend.publish(room, "late"),
            lambda: backend.history(room, last=9),
            lambda: backend.page(room, before=None, limit=9),
        ):
            started_at = clock()
            # A backend that holds the history itself can still answer the last two.
            with suppress(BrokerUnavailable):
                await attempt()
            assert clock() - started_at < base.PUBLISH_DEADLINE + 0.5
        with pytest.raises(BrokerUnavailable):
            await backend.publish(room, record("later"))
        broker_server.resume()
        await until(lambda: backend.alive)
        assert await backend.publish(room, record("again")) is not None


async def test_who_gives_up_a_publish_leaves_the_backend_whole(
    broker_server: BrokerServer, room: str
) -> None:
    async def publish_for_ever(backend: Backend) -> None:
        for name in count():  # a record that is known may be answered without a wait
            await backend.publish(room, record(name))

    async with connected(broker_server.url) as backend:
        await subscribe(backend, room)
        for number in range(60):
            task = asyncio.create_task(publish_for_ever(backend))
            for _ in range(number % 20):  # so that it is met in every step
                await asyncio.sleep(0)
            task.cancel()
            await until(task.done)
            assert task.cancelled()
        assert await backend.publish(room, record("at last")) is not None


# --- Outages -----------------------------------------------------------------------------


async def test_a_backend_connects_to_a_broker_that_comes_later(
    broker_server: BrokerServer, room: str
) -> None:
    broker_server.kill()
    async with connected(broker_server.url) as backend:
        assert not backend.alive
        await backend.subscribe(room)
        with pytest.raises(BrokerUnavailable):
            await backend.publish(room, record("too early"))
        await broker_server.start()
        await until(lambda: backend.alive, patience=PATIENCE)
        await subscribe(backend, room)
        await publish(backend, room, "now")
        async with asyncio.timeout(PATIENCE):
            while (event := await backend.next_published()).message != "message now":
                assert isinstance(event, Resubscribed) or event.message == "message too early"


async def test_every_publish_after_an_outage_is_taken(
    broker_server: BrokerServer, room: str
) -> None:
    async with connected(broker_server.url) as backend:
        await subscribe(backend, room)
        await publish(backend, room, *range(5))
        broker_server.kill()
        await until(lambda: not backend.alive, patience=PATIENCE)
        with pytest.raises(BrokerUnavailable):
            await backend.publish(room, "meanwhile")
        await broker_server.start()
        await until(lambda: backend.alive, patience=PATIENCE)
        await publish(backend, room, *range(5, 10))
        assert await remembered(backend, room) == [str(number) for number in range(10)]


async def test_every_channel_is_told_that_it_was_interrupted(
    broker_server: BrokerServer, room: str
) -> None:
    heard: dict[str, list[Event]] = {f"{room}.{number}": [] for number in range(20)}
    async with connected(broker_server.url) as backend:
        await subscribe(backend, room)
        for channel, events in heard.items():
            await backend.listen(channel, events.append)
            await backend.history(channel, last=0)
        await broker_server.cut()
        if not broker_server.is_continued:
            await until(lambda: all(heard.values()), patience=PATIENCE)
            for events in heard.values():
                assert isinstance(events[0], Resubscribed)
        for channel in heard:
            await subscribe(backend, channel)
            await publish(backend, channel, "after")
        await until(lambda: all(it[-1].message == "message after" for it in heard.values()))


# --- Data that is lost -----------------------------------------------------------------------


async def test_an_epoch_ends_when_the_broker_lost_its_data(
    broker_server: BrokerServer, room: str
) -> None:
    async with connected(broker_server.url) as one, connected(broker_server.url) as other:
        for backend in (one, other):
            await subscribe(backend, room)
        (*_, old) = await publish(one, room, *range(5))
        broker_server.kill()
        await broker_server.lose_data()
        await broker_server.start()
        for backend in (one, other):
            await until(lambda it=backend: it.alive, patience=PATIENCE)  # type: ignore[misc]
            await subscribe(backend, room)
        new = await asyncio.gather(
            one.publish(room, record("new"), old), other.publish(room, record("newer"), old)
        )
        for position in new:
            assert position is not None
            assert position.epoch != old.epoch
        histories = [await backend.history(room, last=9, after=[old]) for backend in (one, other)]
        for history in histories:
            assert history.position == histories[0].position
            assert history.position.epoch != old.epoch
            assert sorted(it.message for it in history.publications) == [
                "message new",
                "message newer",
            ]


async def test_a_position_that_the_broker_never_gave_is_not_taken_for_known(
    broker_server: BrokerServer, room: str
) -> None:
    async with connected(broker_server.url) as backend:
        await subscribe(backend, room)
        (known,) = await publish(backend, room, "known")
        beyond = Position(epoch=known.epoch, offset=known.offset + 1_000_000_000)
        history = await backend.history(room, last=9, after=[beyond])
        assert history.position == known
        assert history.has_all_after(known.offset)
        assert not history.has_all_after(beyond.offset)
