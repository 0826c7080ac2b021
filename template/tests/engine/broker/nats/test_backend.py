"""The NATS backend alone: what it does with its connection and with NATS' memory."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from broadcaster import Event
from prometheus_client import REGISTRY

from app import PROJECT_NAME
from app.realtime.broker import Backend, BrokerUnavailable, Record, Resubscribed
from app.realtime.broker.nats.names import Names
from tests.engine.broker.contract import (
    connected,
    listening,
    messages,
    publications,
    publish,
    received,
    record,
    remembered,
    subscribe,
)
from tests.support.broker.nats import NatsServer, client
from tests.support.client import until
from tests.support.proxy import Proxy

shared_nats = pytest.mark.parametrize("broker_url", ["nats"], indirect=True)
NAMES = Names(PROJECT_NAME)


async def api(url: str, name: str, body: object = None) -> dict[str, object]:
    """Call JetStream's API about the application's stream."""
    async with client(url) as connection:
        subject = f"$JS.API.{name}.{NAMES.stream}"
        answer = await connection.request(subject, json.dumps(body).encode() if body else b"")
    content: dict[str, object] = json.loads(answer.data)
    assert "error" not in content, content
    return content


@asynccontextmanager
async def proxied(server: NatsServer) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy before a server, and its URL."""
    async with Proxy(server.port).running() as proxy:
        yield proxy, f"nats://127.0.0.1:{proxy.port}"


# --- What is written ----------------------------------------------------------------


async def test_reading_a_channel_writes_nothing_but_the_canary_and_an_anchor(
    server: NatsServer,
) -> None:
    async with connected(server.url) as backend:
        for number in range(20):
            await subscribe(backend, f"room {number}")
            await backend.history(f"room {number}", last=50)
            await backend.page(f"room {number}", before=None, limit=50)
        state = (await api(server.url, "STREAM.INFO"))["state"]
        assert isinstance(state, dict)
        assert state["messages"] == 2
        assert state["consumer_count"] == 0


async def test_what_is_kept_of_a_channel_is_bounded_and_expires(server: NatsServer) -> None:
    async with connected(server.url, history_size=5, history_seconds=1) as backend:
        await subscribe(backend, "room")
        await publish(backend, "room", *range(20))
        body = {"subjects_filter": NAMES.record("room")}
        kept: list[int] = []
        async with asyncio.timeout(20):
            while not kept or kept[-1]:
                state = (await api(server.url, "STREAM.INFO", body))["state"]
                assert isinstance(state, dict)
                kept.append(sum((state.get("subjects") or {}).values()))
                await asyncio.sleep(0.05)
        assert max(kept) == 6  # one more tells what came before the oldest


@shared_nats
async def test_a_long_history_is_found_among_other_channels(broker_url: str, room: str) -> None:
    async with connected(broker_url) as backend:
        await subscribe(backend, room)
        expected = [str(number) for number in range(600)]
        for start in range(0, 600, 100):  # unevenly spread
            answers = [backend.submit(room, record(n)) for n in range(start, start + 100)]
            answers += [backend.submit(f"{room}.{n}", record(n)) for n in range(start)]
            await asyncio.gather(*(it for it in answers if isinstance(it, asyncio.Future)))
        for last in (1, 7, 250, 599, 600, 1000):
            assert await remembered(backend, room, last=last) == expected[-last:]
        pages: list[str] = []
        before: int | None = None
        complete = False
        while not complete:
            page = await backend.page(room, before=before, limit=70)
            pages = messages(page.publications) + pages
            before, complete = page.publications[0].position.offset, page.complete
            assert all(b.previous == a.position.offset for a, b in pairwise(page.publications))
        assert pages == expected


@shared_nats
async def test_streams_of_one_server_are_apart(broker_url: str, room: str) -> None:
    async with connected(broker_url) as one, connected(f"{broker_url}?stream=other") as other:
        for backend in (one, other):
            await subscribe(backend, room)
        await publish(other, room, "to the other")
        await other.publish(room, "plain")
        await publish(one, room, "to the one")
        assert messages(await publications(one, 1)) == ["to the one"]


@shared_nats
@pytest.mark.parametrize("name", ["a.b", "a*b", "a>b", "a b", "ä%2E", "*", ">", "a\r\nb", ":"])
async def test_a_channel_may_have_any_name(broker_url: str, room: str, name: str) -> None:
    async with connected(broker_url) as backend:
        channel = f"{room}.{name}"
        await subscribe(backend, channel)
        await subscribe(backend, channel.replace(name, "other"))
        await publish(backend, channel.replace(name, "other"), 0)
        await publish(backend, channel, 1)
        assert {it.channel for it in await publications(backend, 2)} == {
            channel,
            channel.replace(name, "other"),
        }
        assert await remembered(backend, channel) == ["1"]


@shared_nats
async def test_a_message_that_nats_does_not_take_is_refused(broker_url: str, room: str) -> None:
    async with connected(broker_url) as backend:
        await subscribe(backend, room)
        for message in ("x" * 2_000_000, Record("id", "content", "x" * 1_048_570)):
            with pytest.raises(BrokerUnavailable, match="maximum payload"):
                await backend.publish(room, message)
        await backend.publish(room, Record("id", "content", "x" * 1_000_000))
        (event,) = await publications(backend, 1)
        assert len(event.message) == 1_000_000
        assert len((await backend.history(room, last=1)).publications[0].message) == 1_000_000


# --- Once ---------------------------------------------------------------------------


@shared_nats
async def test_a_forgotten_id_is_published_once_by_two_processes(
    broker_url: str, room: str
) -> None:
    async with connected(broker_url, 3) as one, connected(broker_url, 3) as other:
        await subscribe(one, room)
        await publish(one, room, *range(9))
        at = await asyncio.gather(*(it.publish(room, record(1)) for it in (one, other) * 3))
        assert len(set(at)) == 1
        await publish(one, room, "last")
        expected = [*(str(number) for number in range(9)), "1", "last"]
        assert messages(await publications(one, 11)) == expected


# --- What was lost --------------------------------------------------------------------


async def epochs(backend: Backend, *others: Backend) -> set[str]:
    """The epochs of a room, of which some backends are to agree."""
    found = set()
    for it in (backend, *others):
        await subscribe(it, "room")
        found.add((await it.history("room", last=0)).position.epoch)
    return found


async def test_a_stream_that_was_made_anew_has_another_epoch(server: NatsServer) -> None:
    async with connected(server.url) as one, connected(server.url) as other:
        await subscribe(one, "room")
        before = await epochs(one, other)
        await publish(one, "room", 1, 2, 3)
        await received(one, 3)
        await api(server.url, "STREAM.DELETE")
        assert isinstance((await received(one, 1))[0], Resubscribed)
        after = await epochs(one, other)
        assert len(after) == 1
        assert not after & before
        await publish(other, "room", 4)
        assert messages(await publications(one, 1)) == ["4"]


@pytest.mark.parametrize("which", [{}, {"filter": NAMES.record("room")}])
async def test_a_purged_stream_has_another_epoch(server: NatsServer, which: dict[str, str]) -> None:
    async with connected(server.url) as one, connected(server.url) as other:
        await subscribe(one, "room")
        await publish(one, "elsewhere", 1)
        at = await publish(one, "room", 1, 2, 3)
        await publications(one, 3)
        await api(server.url, "STREAM.PURGE", which)
        history = await one.history("room", last=9, after=[at[0]], seen=at[-1])
        assert history.position.epoch != at[0].epoch
        assert await epochs(one, other) == {history.position.epoch}


@pytest.mark.parametrize("which", [{}, {"keep": 1}])
async def test_nobody_takes_what_was_purged_for_received(
    server: NatsServer, which: dict[str, int]
) -> None:
    async with connected(server.url) as backend:
        at = await publish(backend, "room", 1, 2, 3)
        await api(server.url, "STREAM.PURGE", which)
        await subscribe(backend, "room")  # which it had not heard before
        history = await backend.history("room", last=9, after=[at[0]])
        assert not (history.position.epoch == at[0].epoch and history.has_all_after(at[0].offset))


async def test_a_copy_from_before_has_another_epoch(server: NatsServer) -> None:
    async with connected(server.url) as one, connected(server.url) as other:
        for backend in (one, other):
            await subscribe(backend, "room")
        await publish(one, "room", "in the copy")
        server.kill()
        copy = server.copy_data()
        await server.start()
        before = await epochs(one, other)
        at = await publish(one, "room", *range(20))
        server.kill()
        server.restore_data(copy)
        await server.start()
        after = await epochs(one, other)
        assert len(after) == 1
        assert not after & before
        history = await other.history("room", last=99, after=at, seen=at[-1])
        assert messages(history.publications) == ["in the copy"]
        # The same copy once more: what was given meanwhile is not given again.
        await publish(one, "room", *range(20))
        server.kill()
        server.restore_data(copy)
        await server.start()
        last = await epochs(one, other)
        assert len(last) == 1
        assert not last & (before | after)


async def test_what_somebody_has_seen_and_nobody_knows_begins_an_epoch(
    server: NatsServer,
) -> None:
    async with connected(server.url) as backend:
        await subscribe(backend, "room")
        (known,) = await publish(backend, "room", 1)
        for seen in (known, known.model_copy(update={"epoch": "other", "offset": 10**9})):
            assert (await backend.history("room", last=9, seen=seen)).position == known
        seen = known.model_copy(update={"offset": known.offset + 1000})
        assert (await backend.history("room", last=9, seen=seen)).position.epoch != known.epoch


async def test_a_publish_that_has_seen_more_begins_an_epoch(server: NatsServer) -> None:
    async with connected(server.url) as backend:
        await subscribe(backend, "room")
        (known,) = await publish(backend, "room", 1)
        assert await backend.publish("room", record(2), known) is not None
        seen = known.model_copy(update={"offset": known.offset + 1000})
        with pytest.raises(BrokerUnavailable, match="has lost messages"):
            await backend.publish("room", record(3), seen)
        assert known.epoch not in await epochs(backend)
        # It was not delivered in the old epoch, so it is in the history of the new one.
        assert await remembered(backend, "room") == ["1", "2", "3"]


async def test_a_restart_of_the_server_keeps_the_epoch(server: NatsServer) -> None:
    async with connected(server.url) as one, connected(server.url) as other:
        before = await epochs(one, other)
        at = await publish(one, "room", 1)
        server.kill()
        await server.start()
        assert await epochs(one, other) == before
        assert (await other.history("room", last=0)).position == at[0]


async def test_a_quiet_channel_is_complete_after_an_interruption(server: NatsServer) -> None:
    async with connected(server.url) as backend, connected(server.url) as other:
        await subscribe(backend, "room")
        before = (await backend.history("room", last=0)).position
        await publish(other, "another", *range(3))
        elsewhere = await backend.publish("another", record("last"))
        server.kill()
        await server.start()
        await subscribe(other, "room")
        for it in (backend, other):
            history = await it.history("room", last=0, after=[before], seen=before)
            assert history.has_all_after(before.offset)
            assert elsewhere is not None
            assert history.has_all_after(elsewhere.offset)
        await publish(other, "room", 1)
        history = await backend.history("room", last=0, after=[before], seen=before)
        assert history.has_all_after(before.offset)
        assert messages(history.publications) == ["1"]


async def test_who_hears_a_channel_knows_more_than_the_stream_remembers(
    server: NatsServer,
) -> None:
    async with connected(server.url, history_seconds=1) as backend:
        await subscribe(backend, "room")
        (at,) = await publish(backend, "room", 1)
        async with asyncio.timeout(20):
            while True:  # until everything from before has expired
                state = (await api(server.url, "STREAM.INFO"))["state"]
                assert isinstance(state, dict)
                if state["first_seq"] > at.offset + 1:
                    break
                await asyncio.sleep(0.05)
        history = await backend.history("room", last=9, after=[at], seen=at)
        assert history.position == at
        assert history.has_all_after(at.offset)


async def test_a_worker_that_only_publishes_notices_a_copy_from_before(
    server: NatsServer,
) -> None:
    async with connected(server.url) as backend:
        await publish(backend, "room", "in the copy")
        server.kill()
        copy = server.copy_data()
        await server.start()
        await until(lambda: backend.alive)
        before = await publish(backend, "room", *range(20))
        server.kill()
        await until(lambda: not backend.alive)
        server.restore_data(copy)
        await server.start()
        await until(lambda: backend.alive)
        (after,) = await publish(backend, "room", "new")
        assert after.epoch != before[0].epoch


async def test_a_quiet_channel_is_complete_on_another_worker(server: NatsServer) -> None:
    async with connected(server.url) as one:
        await subscribe(one, "room")
        before = (await one.history("room", last=0)).position
        await until(lambda: one.alive)
        for number in range(9):  # each has the canary confirm it, which replaces the one before
            await subscribe(one, f"room {number}")
        async with connected(server.url) as other:
            await subscribe(other, "room")
            history = await other.history("room", last=0, after=[before])
            assert history.position.epoch == before.epoch
            assert history.has_all_after(before.offset)
            back = await one.history("room", last=0, after=[history.position])
            assert back.position == before
            assert back.has_all_after(history.position.offset)


# --- Connections ------------------------------------------------------------------------


async def test_every_channel_is_told_that_it_was_interrupted(server: NatsServer) -> None:
    channels = {f"room {number}" for number in range(100)}
    async with proxied(server) as (proxy, url), connected(url) as backend:
        for channel in channels:
            await backend.subscribe(channel)
        for channel in channels:
            await subscribe(backend, channel)
        proxy.cut()
        events = await received(backend, 100)
        assert all(isinstance(event, Resubscribed) for event in events)
        assert {event.channel for event in events} == channels


async def test_a_worker_waits_longer_and_longer_between_attempts(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(server.url) as backend:
        await until(lambda: backend.alive)
        ceilings: list[float] = []

        def uniform(_: float, ceiling: float) -> float:
            ceilings.append(ceiling)
            return 0.01

        monkeypatch.setattr("random.uniform", uniform)
        server.kill()
        await until(lambda: len(ceilings) > 8)
        assert ceilings[:6] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0]
        await server.start()
        await until(lambda: backend.alive)
        ceilings.clear()
        await server.cut()
        await until(lambda: len(ceilings) > 0)
        assert ceilings[0] == 0.05


async def test_nothing_that_was_refused_is_sent_later(server: NatsServer) -> None:
    async with proxied(server) as (proxy, url), connected(url) as backend:
        await subscribe(backend, "room")
        proxy.refuse()
        await until(lambda: not backend.alive)
        with pytest.raises(BrokerUnavailable):
            await backend.publish("room", record("lost"))
        with pytest.raises(BrokerUnavailable):
            await backend.publish("room", "plain")
        await proxy.accept()
        await until(lambda: backend.alive)
        await publish(backend, "room", "next")
        events = [it for it in await received(backend, 2) if not isinstance(it, Resubscribed)]
        assert messages(events) == ["next"]
        assert await remembered(backend, "room") == ["next"]


async def test_a_worker_that_reads_too_slowly_is_told_what_it_may_have_missed(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.realtime.broker.nats.channels.MAX_PENDING", 3)
    async with connected(server.url) as slow, connected(server.url) as fast:
        heard: list[Event] = []

        def take_long(event: Event) -> None:
            time.sleep(0.05)
            heard.append(event)

        await slow.listen("room", take_long)
        await slow.history("room", last=0)
        answers = [fast.submit("room", record(number)) for number in range(50)]
        await asyncio.gather(*(it for it in answers if isinstance(it, asyncio.Future)))
        await until(lambda: any(isinstance(it, Resubscribed) for it in heard))
        assert len(await remembered(slow, "room")) == 50


async def test_a_stream_that_takes_nothing_is_noticed(
    server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(server.url) as backend:
        await until(lambda: backend.alive)
        config = (await api(server.url, "STREAM.INFO"))["config"]
        assert isinstance(config, dict)
        await api(server.url, "STREAM.UPDATE", {**config, "sealed": True})
        await until(lambda: not backend.alive)
        with pytest.raises(BrokerUnavailable):
            await backend.publish("room", record(1))
        assert "NATS does not take messages" in caplog.text


async def test_history_waits_for_the_subscription() -> None:
    async with connected("nats://127.0.0.1:1") as backend:
        await backend.subscribe("room")
        with pytest.raises(BrokerUnavailable):
            await backend.history("room", last=0)


@shared_nats
async def test_cancelling_a_publish_is_never_lost(broker_url: str, room: str) -> None:
    async def publish_for_ever(backend: Backend) -> None:
        while True:
            await backend.publish(room, "text")

    async with connected(broker_url) as backend:
        await until(lambda: backend.alive)
        for number in range(180):
            task = asyncio.create_task(publish_for_ever(backend))
            for _ in range(number % 60):  # so that it is met in every step
                await asyncio.sleep(0)
            task.cancel()
            await until(task.done)


@shared_nats
async def test_disconnecting_leaves_no_task(broker_url: str, room: str) -> None:
    before = asyncio.all_tasks()
    async with connected(broker_url) as backend:
        await subscribe(backend, room)
        await publish(backend, room, 1)
    await until(lambda: asyncio.all_tasks() == before)


# --- Malformed messages -----------------------------------------------------------------


@shared_nats
@pytest.mark.parametrize(
    ("headers", "payload"),
    [
        (None, b"not by the stream"),
        ({"Nats-Sequence": "7"}, b"half"),
        ({"Nats-Sequence": "x", "Nats-Last-Sequence": "0", "Nats-Time-Stamp": "x"}, b"{}"),
        ({"Nats-Sequence": "1", "Nats-Last-Sequence": "1", "Nats-Time-Stamp": "x"}, b"{}"),
        ({"Nats-Sequence": "9", "Nats-Last-Sequence": "1", "Nats-Time-Stamp": "x"}, b"\xff"),
    ],
)
async def test_a_malformed_publication_is_counted_and_skipped(
    broker_url: str, room: str, headers: dict[str, str] | None, payload: bytes
) -> None:
    async with connected(broker_url) as backend, listening(backend, room) as heard:
        generation = (await backend.history(room, last=0)).position.epoch.split(".")[0]
        before = REGISTRY.get_sample_value("websocket_broker_poison_total")
        async with client(broker_url) as stranger:
            subject = NAMES.live(room).replace("*", generation)
            await stranger.publish(subject, payload, headers=headers)
            await stranger.publish(NAMES.plain(room), b"\xff")
            await stranger.flush()
        await publish(backend, room, 1)
        await until(lambda: bool(heard))
        assert messages(heard) == ["1"]
        assert REGISTRY.get_sample_value("websocket_broker_poison_total") == (before or 0) + 2
