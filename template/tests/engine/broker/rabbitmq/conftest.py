"""A RabbitMQ that these tests may disturb."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.engine.broker.rabbitmq.certificates import Certificates, make_certificates
from tests.support.broker.rabbitmq import GUEST, RabbitmqServer
from tests.support.server import free_port

LARGEST = 2_000_000
"""Bytes of the largest message that it takes."""


RESTRICTED = {"name": "restricted", "password": "restricted", "tags": []}
"""A user without permissions."""


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates | None:
    """What RabbitMQ and its clients show each other. None where they can't be made."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def tls_port() -> int:
    """Where RabbitMQ takes connections with TLS."""
    return free_port()


@pytest_asyncio.fixture(scope="session")
async def shared_rabbitmq(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates | None, tls_port: int
) -> AsyncIterator[RabbitmqServer]:
    folder = tmp_path_factory.mktemp("rabbitmq")
    settings = [f"max_message_size = {LARGEST}"]
    if certificates is not None:
        settings += [f"listeners.ssl.local = 127.0.0.1:{tls_port}", *certificates.settings]
    server = RabbitmqServer(folder, *settings, users=[GUEST, RESTRICTED])
    async with server.running():
        yield server


@pytest_asyncio.fixture
async def rabbitmq(shared_rabbitmq: RabbitmqServer) -> AsyncIterator[RabbitmqServer]:
    """A server that runs again for the next test."""
    yield shared_rabbitmq
    await shared_rabbitmq.restore()
