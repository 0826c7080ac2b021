"""Messages between any number of processes, through a topic of Kafka."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.realtime.broker.log.backend import LogBackend
from app.realtime.broker.log.base import Log, LogConnection, LogUnavailable


class KafkaLog(Log):
    name = "Kafka"

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[LogConnection]:
        raise LogUnavailable("not there yet")
        yield


class KafkaBackend(LogBackend):
    schemes = ("kafka",)

    def __init__(
        self, url: str, history_size: int, history_seconds: float, history_bytes: int = 0
    ) -> None:
        super().__init__(url, history_size, history_seconds, history_bytes, KafkaLog())
