"""A Kafka: one that is already there, or librdkafka's mock cluster.

The mock speaks Kafka's protocol and keeps everything in its memory. It is in a process of its
own, and loses everything when that ends. So a proxy stands before it, which models a server
with a disk: it refuses connections while the server is "killed", and the data stay.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiokafka import AIOKafkaProducer

from app.realtime.broker.log.backend import number_of
from tests.support.broker_server import BrokerServer
from tests.support.proxy import Proxy
from tests.support.quick_start import preload
from tests.support.server import PATIENCE

preload("aiokafka")

TOPIC = "tests"

OPTIONS = "fetch_max_wait_ms=10"
"""The mock holds back a fetch for the whole wait, whether something is published or not."""

MOCK = """
import sys
from confluent_kafka import Producer
mock = Producer({"bootstrap.servers": "x", "test.mock.num.brokers": 1, "log_level": 0})
(broker,) = mock.list_topics(timeout=10).brokers.values()
print(broker.port, flush=True)
sys.stdin.read()
"""


@asynccontextmanager
async def serve(folder: Path) -> AsyncIterator[str]:
    """The URL of a broker, for the length of the block."""
    if address := os.environ.get("TEST_KAFKA_URL"):
        yield address
    else:
        async with KafkaServer(folder).running() as server:
            yield server.url


class KafkaServer(BrokerServer):
    """A mock cluster behind a proxy, which is in the process of the test."""

    accepts_within = 1.0
    is_continued = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._proxy = Proxy(0, self._new_rewrite)
        self._is_killed = True

    @property
    def url(self) -> str:  # type: ignore[override] # the port is known once it runs
        return f"kafka://127.0.0.1:{self._proxy.port}/{TOPIC}?{OPTIONS}"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._proxy.port}"

    async def start(self) -> None:
        if self._process is None:
            self._process = subprocess.Popen(  # noqa: ASYNC220
                [sys.executable, "-c", MOCK], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert self._process.stdout is not None
            async with asyncio.timeout(PATIENCE):
                line = await asyncio.to_thread(self._process.stdout.readline)
            self._proxy.upstream_port = int(line)
        await self._proxy.accept()
        self._is_killed = False

    async def stop(self) -> None:
        self.kill()
        self._end_mock()

    async def restore(self) -> None:
        if self._is_killed:
            await self.start()
        else:
            self.resume()

    async def lose_data(self) -> None:
        self._end_mock()

    def _end_mock(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._process.stdout.close()
            self._process = None

    async def cut(self) -> None:
        self._proxy.cut()

    def kill(self) -> None:
        self._is_killed = True
        self._proxy.refuse()

    def pause(self) -> None:
        self._proxy.stall()

    def resume(self) -> None:
        self._proxy.flow()

    async def inject(self, channel: str, payload: bytes) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.address)
        await producer.start()
        try:
            partitions = await producer.partitions_for(TOPIC)
            number = number_of(channel, len(partitions))
            await producer.send_and_wait(TOPIC, payload, partition=number)
        finally:
            await producer.stop()

    def _new_rewrite(self) -> "Rewrite":
        return Rewrite(self._proxy)


class Rewrite:
    """Has the mock tell the proxy's address instead of its own, on one connection.

    In its answers, an address is the name of the host and the port in 4 bytes.
    """

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._received = b""

    def __call__(self, data: bytes) -> bytes:
        """Return the answers that are complete. Each has its length before it."""
        self._received += data
        complete = 0
        while len(self._received) - complete >= 4:
            end = complete + 4 + int.from_bytes(self._received[complete : complete + 4])
            if end > len(self._received):
                break
            complete = end
        answers, self._received = self._received[:complete], self._received[complete:]
        return answers.replace(
            self._address(self._proxy.upstream_port), self._address(self._proxy.port)
        )

    def _address(self, port: int) -> bytes:
        return b"127.0.0.1" + port.to_bytes(4)


Server = KafkaServer
