"""What is particular about Kafka as the broker."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from app.realtime.broker import BrokerUnavailable, Record, create_backend
from app.realtime.broker.kafka import connection as kafka
from app.realtime.metrics import POISON
from tests.engine.broker.contract import connected, publications, publish, remembered, subscribe
from tests.support.broker.kafka import KafkaServer
from tests.support.client import PATIENCE, until


async def test_a_publication_that_the_topic_does_not_take_is_refused_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "MAX_MESSAGE_BYTES", 100_000)
    async with KafkaServer(tmp_path).running() as server, connected(server.url) as backend:
        await subscribe(backend, "room")
        answers = await asyncio.gather(
            backend.publish("room", Record("1", "1", "small")),
            backend.publish("room", Record("2", "2", "x" * 200_000)),
            backend.publish("room", Record("3", "3", "after")),
            return_exceptions=True,
        )
        assert isinstance(answers[1], BrokerUnavailable)
        assert "it has more than 100000 bytes" in str(answers[1])
        assert [it.message for it in await publications(backend, 2)] == ["small", "after"]


async def test_a_megabyte_arrives(tmp_path: Path) -> None:
    async with KafkaServer(tmp_path).running() as server, connected(server.url) as backend:
        await subscribe(backend, "room")
        await backend.publish("room", Record("1", "1", "x" * 1_000_000))
        (event,) = await publications(backend, 1)
        assert len(event.message) == 1_000_000


@pytest.mark.parametrize("payload", [b"", b"{}", b"\xff" * 100, b"\x01\x01" + bytes(60)])
async def test_what_nobody_wrote_is_counted_and_skipped(tmp_path: Path, payload: bytes) -> None:
    async with KafkaServer(tmp_path).running() as server, connected(server.url) as backend:
        await subscribe(backend, "room")
        before = POISON._value.get()
        await server.inject("room", payload)
        await until(lambda: POISON._value.get() == before + 1)
        await publish(backend, "room", "after")
        assert await remembered(backend, "room") == ["after"]


async def test_a_worker_that_starts_later_knows_the_history(tmp_path: Path) -> None:
    async with KafkaServer(tmp_path).running() as server:
        async with connected(server.url) as one:
            await subscribe(one, "room")
            at = await publish(one, "room", *range(20))
        async with connected(server.url) as other:
            await subscribe(other, "room")
            assert await remembered(other, "room") == [str(number) for number in range(20)]
            assert (await other.history("room", last=0)).position == at[-1]


async def test_an_outage_is_told_once_and_everything_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with KafkaServer(tmp_path).running() as server:
        before = asyncio.all_tasks()
        async with connected(server.url) as backend:
            await until(lambda: backend.alive, patience=PATIENCE)
            server.kill()
            await until(lambda: not backend.alive, patience=PATIENCE)
            await asyncio.sleep(1)  # several attempts
            told = [it for it in caplog.records if "no connection to Kafka" in it.message]
            assert len(told) == 1
            assert not logging.getLogger("aiokafka").propagate  # it repeats itself
            await server.start()
            await until(lambda: backend.alive, patience=PATIENCE)
            server.kill()
            await until(lambda: not backend.alive, patience=PATIENCE)
        await until(lambda: not (asyncio.all_tasks() - before), patience=PATIENCE)


async def test_a_backend_that_never_connects_ends() -> None:
    backend = create_backend("kafka://127.0.0.1:1/nobody", 10, 10)
    await backend.connect()
    with pytest.raises(BrokerUnavailable):
        await backend.publish("room", "text")
    await backend.disconnect()


async def test_a_refusal_of_the_server_is_told_to_the_publisher_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mock takes everything, so the producer answers for it."""
    send = AIOKafkaProducer.send_batch

    async def refuse(
        producer: AIOKafkaProducer, batch: Any, topic: str, *, partition: int
    ) -> asyncio.Future[Any]:
        if batch.size() < 200_000:
            future: asyncio.Future[Any] = await send(producer, batch, topic, partition=partition)
            return future
        refused = asyncio.get_running_loop().create_future()
        refused.set_exception(MessageSizeTooLargeError())
        return refused

    monkeypatch.setattr(AIOKafkaProducer, "send_batch", refuse)
    async with KafkaServer(tmp_path).running() as server, connected(server.url) as backend:
        await subscribe(backend, "room")
        with pytest.raises(BrokerUnavailable, match=r"max\.message\.bytes"):
            await backend.publish("room", Record("1", "1", "x" * 200_000))
        assert backend.alive
        await publish(backend, "room", 2)
