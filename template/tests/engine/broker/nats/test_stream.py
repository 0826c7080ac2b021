"""The stream: whose it is, which one can be used, and who may change it."""

import asyncio
import logging
from typing import Any

import pytest

from app import PROJECT_NAME
from app.realtime.broker import BrokerUnavailable
from app.realtime.broker.nats.names import Names
from app.realtime.broker.nats.stream import is_older, next_generation
from tests.engine.broker.contract import connected, publications, publish, remembered, subscribe
from tests.engine.broker.nats.test_backend import api
from tests.support.broker.nats import NatsServer
from tests.support.client import until

HOUR = 3600 * 10**9
NAMES = Names(PROJECT_NAME)

FITTING: dict[str, Any] = {
    "name": NAMES.stream,
    "subjects": [NAMES.records],
    "republish": {"src": NAMES.records, "dest": NAMES.republished("mine")},
    "retention": "limits",
    "storage": "memory",
    "max_msgs_per_subject": 1001,
    "max_age": HOUR,
    "duplicate_window": HOUR,
    "allow_direct": True,
}
"""A stream as an operator may make it for the default settings."""


async def test_a_stream_of_the_operator_is_used_as_it_is(server: NatsServer, room: str) -> None:
    await api(server.url, "STREAM.CREATE", FITTING)
    config = (await api(server.url, "STREAM.INFO"))["config"]
    async with connected(server.url) as backend, connected(f"{server.url}?replicas=1") as other:
        await subscribe(backend, room)
        await publish(other, room, 1, 1, 2)
        assert await remembered(backend, room) == ["1", "2"]
        assert (await backend.history(room, last=0)).position.epoch.startswith("mine.")
    assert (await api(server.url, "STREAM.INFO"))["config"] == config


async def test_a_stream_of_the_operator_made_anew_has_another_epoch(
    server: NatsServer, room: str
) -> None:
    epochs = set()
    for _ in range(2):
        await api(server.url, "STREAM.CREATE", FITTING)
        async with connected(server.url) as backend:
            await subscribe(backend, room)
            epochs.add((await backend.history(room, last=0)).position.epoch)
        await api(server.url, "STREAM.DELETE")
    assert len(epochs) == 2


async def test_a_purged_channel_has_another_epoch_though_the_stream_is_bounded(
    server: NatsServer, room: str
) -> None:
    await api(server.url, "STREAM.CREATE", {**FITTING, "max_bytes": 10**9})
    async with connected(server.url) as backend:
        await publish(backend, "elsewhere", 1)
        await subscribe(backend, room)
        at = await publish(backend, room, 1, 2)
        await publications(backend, 2)
        await api(server.url, "STREAM.PURGE", {"filter": NAMES.record(room)})
        history = await backend.history(room, last=9, after=[at[0]], seen=at[-1])
        assert history.position.epoch != at[0].epoch


async def test_a_full_stream_forgets_and_keeps_its_epoch(server: NatsServer, room: str) -> None:
    await api(server.url, "STREAM.CREATE", {**FITTING, "max_bytes": 20_000})
    async with connected(server.url) as backend:
        await subscribe(backend, room)
        (at,) = await publish(backend, room, 1)
        await publications(backend, 1)
        await publish(backend, "elsewhere", *range(200))
        history = await backend.history(room, last=9, after=[at], seen=at)
        assert history.position == at
        assert not history.publications


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"subjects": ["other"], "republish": None}, "its subjects have to include"),
        ({"republish": None}, "it has to republish"),
        ({"republish": {"src": ">", "dest": "elsewhere.>"}}, "it has to republish"),
        ({"republish": {**FITTING["republish"], "dest": NAMES.republished("plain")}}, "republish"),
        ({"retention": "workqueue"}, "its retention has to be limits"),
        ({"discard": "new"}, "its discard has to be old"),
        ({"allow_direct": False}, "its allow_direct has to be true"),
        ({"max_msgs_per_subject": 1000}, "its max_msgs_per_subject has to be 1001"),
        ({"max_age": HOUR // 2, "duplicate_window": HOUR // 2}, "its max_age has to be 3600s"),
        ({"duplicate_window": HOUR // 2}, "its duplicate_window has to be 3600s"),
    ],
)
async def test_a_stream_that_cannot_keep_the_promises_is_refused_until_it_can(
    server: NatsServer, caplog: pytest.LogCaptureFixture, change: dict[str, object], reason: str
) -> None:
    caplog.set_level(logging.WARNING)
    await api(server.url, "STREAM.CREATE", {**FITTING, **change})
    async with connected(server.url) as backend:
        await until(lambda: bool(caplog.messages))
        assert f"the stream {NAMES.stream} can't be used: " in caplog.messages[0]
        assert reason in caplog.messages[0]
        assert not backend.alive
        with pytest.raises(BrokerUnavailable):
            await backend.publish("room", "text")
        # Where there is no stream, one is made.
        await api(server.url, "STREAM.DELETE")
        await until(lambda: backend.alive)


async def test_our_stream_has_the_highest_limits_of_all_workers(
    server: NatsServer, room: str
) -> None:
    async def limits() -> tuple[int, int]:
        config: Any = (await api(server.url, "STREAM.INFO"))["config"]
        return config["max_msgs_per_subject"], config["max_age"]

    async with connected(server.url, 10, 60) as old:
        await subscribe(old, room)
        assert await limits() == (11, 60 * 10**9)
        await publish(old, room, *range(9))
        async with connected(server.url, 5, 3600) as new:
            await subscribe(new, room)
            assert await limits() == (11, HOUR)
            assert await remembered(new, room) == list("45678")
            # They go on together, also when they connect again.
            server.kill()
            await server.start()
            await subscribe(old, room)
            await subscribe(new, room)
            await publish(old, room, "next")
            assert await remembered(old, room) == [*"012345678", "next"]
            assert await remembered(new, room) == [*"5678", "next"]
            assert await limits() == (11, HOUR)


async def test_many_workers_that_start_at_once_make_one_stream(
    server: NatsServer, room: str
) -> None:
    async def epoch() -> str:
        async with connected(server.url) as backend:
            await subscribe(backend, room)
            return (await backend.history(room, last=0)).position.epoch

    assert len(set(await asyncio.gather(*(epoch() for _ in range(8))))) == 1


def test_generations_follow_each_other() -> None:
    assert next_generation("a1-0") == "a1-1"
    assert next_generation("a-9") == "a-10"
    assert next_generation("mine") == "mine-1"
    assert is_older("a-9", "a-10")
    assert not is_older("a-10", "a-9")
    assert not is_older("a-1", "b-2")
