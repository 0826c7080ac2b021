"""The pipeline alone: commands share round trips, and those that wait are bounded."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import pytest
from redis.asyncio.connection import AbstractConnection

from app.realtime.broker.redis.connections import connection_pool
from app.realtime.broker.redis.pipeline import MAX_WAITING, Pipeline
from tests.support.client import PATIENCE

shared_redis = pytest.mark.parametrize("broker_url", ["redis"], indirect=True)


class CountingPipeline(Pipeline):
    """Records how many commands went in each round trip."""

    def __init__(self, url: str) -> None:
        super().__init__(connection_pool(url), [], deadline=PATIENCE)
        self.sizes: list[int] = []

    async def _round_trip(
        self, connection: AbstractConnection, commands: Sequence[bytes]
    ) -> list[Any]:
        self.sizes.append(len(commands))
        return await super()._round_trip(connection, commands)


@shared_redis
async def test_commands_that_come_at_about_the_same_time_share_a_round_trip(
    broker_url: str,
) -> None:
    pipeline = CountingPipeline(broker_url)
    async with aclosing(pipeline._pool), pipeline.running():
        first = pipeline.submit("ECHO", "first")
        await asyncio.sleep(0)
        second = pipeline.submit("ECHO", "second")
        assert await first == b"first"
        assert await second == b"second"
        assert await pipeline.submit("ECHO", "third") == b"third"
    assert pipeline.sizes == [2, 1]


async def test_the_number_of_waiting_commands_is_bounded() -> None:
    pipeline = Pipeline(connection_pool("redis://localhost"), [], deadline=1)  # not running
    waiting = [pipeline.submit("PING") for _ in range(MAX_WAITING)]
    assert isinstance(pipeline.submit("PING").exception(), ConnectionError)
    assert not any(answer.done() for answer in waiting)


@shared_redis
async def test_commands_that_nobody_waits_for_or_that_are_late_are_not_sent(
    broker_url: str,
) -> None:
    pipeline = CountingPipeline(broker_url)
    late = pipeline.submit("ECHO", "late")
    pipeline._deadline = 0.1
    given_up = pipeline.submit("ECHO", "given up")
    too_late = pipeline.submit("ECHO", "too late")
    given_up.cancel()
    await asyncio.sleep(0.08)  # more than half of it has passed
    in_time = pipeline.submit("ECHO", "in time")
    async with aclosing(pipeline._pool), pipeline.running():
        assert await late == b"late"
        assert await in_time == b"in time"
        with pytest.raises(TimeoutError):
            await too_late
    assert pipeline.sizes == [2]


@shared_redis
async def test_an_unexpected_failure_does_not_end_the_pipeline(
    broker_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(CountingPipeline):
        async def _round_trip(
            self, connection: AbstractConnection, commands: Sequence[bytes]
        ) -> list[Any]:
            if not self.sizes:
                self.sizes.append(0)
                raise ValueError("a flaw")
            return await super()._round_trip(connection, commands)

    pipeline = Broken(broker_url)
    async with aclosing(pipeline._pool), pipeline.running():
        with pytest.raises(ConnectionError):
            await pipeline.submit("PING")
        assert await pipeline.submit("ECHO", "hello") == b"hello"
    assert "a flaw" in caplog.text
