"""The RabbitMQ backend alone: what the operator is told, alarms, and streams that change."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiormq
import pytest
from prometheus_client import REGISTRY

from app.realtime.broker import BrokerUnavailable, IdTaken, Publication, Record, Resubscribed
from app.realtime.broker.base import PUBLISH_DEADLINE
from app.realtime.broker.log.base import Draft
from app.realtime.broker.log.supervisor import CANARY_DEADLINE
from app.realtime.broker.rabbitmq.backend import RabbitmqBackend
from app.realtime.broker.rabbitmq.batches import encode
from tests.engine.broker.contract import (
    connected,
    publications,
    publish,
    received,
    record,
    remembered,
    subscribe,
)
from tests.support.broker.rabbitmq import RabbitmqServer
from tests.support.client import PATIENCE, until
from tests.support.proxy import Proxy

# --- What the operator is told ------------------------------------------------------


def url_of(server: RabbitmqServer, user: str, rest: str = "") -> str:
    return f"amqp://{user}@127.0.0.1:{server.port}{rest}"


@asynccontextmanager
async def refused(
    url: str, caplog: pytest.LogCaptureFixture, *sentences: str
) -> AsyncIterator[RabbitmqBackend]:
    """A backend that is not alive, and logs these sentences once."""
    async with connected(url) as backend:
        await until(lambda: all(it in caplog.text for it in sentences), patience=PATIENCE)
        await asyncio.sleep(0.5)  # for more attempts
        assert caplog.text.count(sentences[0]) == 1
        assert not backend.alive
        assert isinstance(backend, RabbitmqBackend)
        yield backend


@pytest.mark.parametrize("user", ["guest:wrong", "nobody:guest"])
async def test_a_wrong_password_is_told(
    rabbitmq: RabbitmqServer, caplog: pytest.LogCaptureFixture, user: str
) -> None:
    name = user.partition(":")[0]
    sentence = f"RabbitMQ refuses the user '{name}': correct the name or the password"
    async with refused(url_of(rabbitmq, user), caplog, sentence) as backend:
        with pytest.raises(BrokerUnavailable):
            await backend.publish("room", record(1))


async def test_a_virtual_host_that_does_not_exist_is_told(
    rabbitmq: RabbitmqServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = url_of(rabbitmq, "guest:guest", "/nowhere")
    async with refused(url, caplog, "RabbitMQ refuses the virtual host 'nowhere'"):
        pass


async def test_a_queue_that_is_no_stream_is_told(
    rabbitmq: RabbitmqServer, caplog: pytest.LogCaptureFixture, room: str
) -> None:
    async with aiormq.connect(rabbitmq.url) as connection:
        await (await connection.channel()).queue_declare(room, durable=True)
    url = f"{rabbitmq.url}?stream={room}"
    async with refused(url, caplog, f"RabbitMQ can't use '{room}' as a stream"):
        pass


async def test_each_missing_permission_is_told_until_it_is_given(
    rabbitmq: RabbitmqServer, caplog: pytest.LogCaptureFixture, room: str
) -> None:
    async def permit(*permissions: str) -> None:
        await rabbitmq.control("set_permissions", "restricted", *permissions)

    url = url_of(rabbitmq, "restricted:restricted", f"?stream={room}")
    async with refused(url, caplog, "no permissions in it") as backend:
        stream, exchange, nothing = f"^{room}$", "^amq.default$", "^$"
        for permissions, missing in (
            ((nothing, nothing, nothing), f"access to queue '{room}'"),
            ((stream, nothing, nothing), f"access to queue '{room}'"),
            ((stream, nothing, stream), "access to exchange 'amq.default'"),
        ):
            await permit(*permissions)
            caplog.clear()
            backend._supervisor._attempt = 0  # so that it is news
            await until(lambda it=missing: it in caplog.text, patience=PATIENCE)  # type: ignore[misc]
            assert f"configure and read for '{room}', and write for 'amq.default'" in caplog.text
            assert not backend.alive
        await permit(stream, exchange, stream)
        await until(lambda: backend.alive, patience=PATIENCE)
        await publish(backend, room, 1)


# --- Alarms ------------------------------------------------------------------------


async def test_in_an_alarm_publishing_is_refused_and_goes_on_after_it(
    rabbitmq: RabbitmqServer, room: str
) -> None:
    async with connected(f"{rabbitmq.url}?stream={room}") as backend:
        await subscribe(backend, room)
        await publish(backend, room, 1)
        await rabbitmq.control("set_vm_memory_high_watermark", "0.0000001")
        try:
            clock = asyncio.get_running_loop().time
            started_at = clock()
            with pytest.raises(BrokerUnavailable):
                await backend.publish(room, record("late"))
            assert clock() - started_at < PUBLISH_DEADLINE + 0.3
            await until(lambda: not backend.alive, patience=CANARY_DEADLINE + 2)
        finally:
            await rabbitmq.control("set_vm_memory_high_watermark", "0.4")
        await until(lambda: backend.alive, patience=PATIENCE)
        await publish(backend, room, 2)
        assert await remembered(backend, room) in (["1", "late", "2"], ["1", "2"])


# --- Streams that change -------------------------------------------------------------


async def test_an_epoch_ends_when_the_stream_is_deleted(
    rabbitmq: RabbitmqServer, room: str
) -> None:
    url = f"{rabbitmq.url}?stream={room}"
    async with connected(url) as one, connected(url) as other:
        for backend in (one, other):
            await subscribe(backend, room)
        (old, *_) = await publish(one, room, 1, 2, 3)
        for backend in (one, other):
            await publications(backend, 3)
        async with aiormq.connect(rabbitmq.url) as connection:
            await (await connection.channel()).queue_delete(room)
        for backend in (one, other):
            (event,) = await received(backend, 1)
            assert isinstance(event, Resubscribed)
            await until(lambda it=backend: it.alive, patience=PATIENCE)  # type: ignore[misc]
        (new,) = await publish(one, room, 1)
        assert new.epoch != old.epoch
        for backend in (one, other):
            event = Resubscribed(room)
            while isinstance(event, Resubscribed):
                (event,) = await received(backend, 1)
            assert isinstance(event, Publication)
            assert event.position == new
            assert await remembered(backend, room) == ["1"]


async def test_other_bytes_in_the_stream_are_counted_and_skipped(
    rabbitmq: RabbitmqServer, room: str, caplog: pytest.LogCaptureFixture
) -> None:
    def poison() -> float:
        return REGISTRY.get_sample_value("websocket_broker_poison_total") or 0

    bodies = [
        b"",
        b"\xff\xfe",
        b"text",
        b"{}",
        bytes(100),
        b"x" * 300_000,
        encode([Draft(0, it) for it in (b"", b"\x01" * 70, b"text")], 1.0),
    ]
    async with connected(f"{rabbitmq.url}?stream={room}") as backend:
        await subscribe(backend, room)
        before = poison()
        (first,) = await publish(backend, room, "before")
        async with aiormq.connect(rabbitmq.url) as connection:
            channel = await connection.channel()
            for body in bodies:
                await channel.basic_publish(body, routing_key=room)
        (last,) = await publish(backend, room, "after")
        events = await publications(backend, 2)
        assert [event.position for event in events] == [first, last]
        assert events[1].previous == first.offset
        assert poison() - before == len(bodies) - 1 + 3
        assert "malformed" in caplog.text
        async with connected(f"{rabbitmq.url}?stream={room}") as other:
            await subscribe(other, room)
            assert await remembered(other, room) == ["before", "after"]


# --- Large messages --------------------------------------------------------------------


async def test_what_is_too_large_for_rabbitmq_is_refused_with_the_reason(
    rabbitmq: RabbitmqServer, room: str
) -> None:
    async with connected(f"{rabbitmq.url}?stream={room}") as backend:
        await subscribe(backend, room)
        large = Record("large", "large", "x" * 1_000_000)
        assert await backend.publish(room, large) is not None
        with pytest.raises(BrokerUnavailable, match="larger than configured max size"):
            await backend.publish(room, Record("larger", "larger", "x" * 2_000_001))
        await publish(backend, room, "next")
        heard = await publications(backend, 2)
        assert [len(it.message) for it in heard] == [1_000_000, len("message next")]
        with pytest.raises(IdTaken):
            await backend.publish(room, large._replace(content="other"))


# --- The network ---------------------------------------------------------------------------


async def test_a_network_that_is_silent_is_noticed_and_left_in_time(
    rabbitmq: RabbitmqServer, room: str
) -> None:
    clock = asyncio.get_running_loop().time
    async with Proxy(rabbitmq.port).running() as proxy:
        url = f"amqp://guest:guest@127.0.0.1:{proxy.port}?stream={room}"
        async with connected(url) as backend:
            await subscribe(backend, room)
            await publish(backend, room, 1)
            proxy.stall()
            started_at = clock()
            with pytest.raises(BrokerUnavailable):
                await backend.publish(room, record("late"))
            assert clock() - started_at < PUBLISH_DEADLINE + 0.3
            await until(lambda: not backend.alive, patience=CANARY_DEADLINE + 2)
            started_at = clock()
            with pytest.raises(BrokerUnavailable):
                await backend.publish(room, record("later"))
            assert clock() - started_at < 0.1
            proxy.cut()
            proxy.flow()
            await until(lambda: backend.alive, patience=PATIENCE)
            await publish(backend, room, 2)
            proxy.stall()
            started_at = clock()
        assert clock() - started_at < 1.5
