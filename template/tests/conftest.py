"""Servers that the tests share. All of them are real, and end with the session."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from tests.broker import BROKERS
from tests.server import AppServer

StartServer = Callable[..., Awaitable[AppServer]]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the servers run, and keep what they share."""
    return tmp_path_factory.mktemp("servers")


@pytest_asyncio.fixture(scope="session", params=BROKERS)
async def broker_url(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[str]:
    """The address of each broker in turn."""
    async with BROKERS[request.param](folder) as url:
        yield url


@pytest_asyncio.fixture(scope="session")
async def server(broker_url: str, folder: Path) -> AsyncIterator[AppServer]:
    """A server on each broker, shared by the tests."""
    server = AppServer(folder, {"BROKER_URL": broker_url, "PING_INTERVAL": "1"})
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
    assert "Traceback" not in server.read_log()


@pytest_asyncio.fixture
async def start_server(folder: Path) -> AsyncIterator[StartServer]:
    """Starts a server of the test's own, with the settings given as keywords."""
    async with AsyncExitStack() as stack:

        async def start(**settings: object) -> AppServer:
            server = AppServer(folder, {name: str(value) for name, value in settings.items()})
            stack.push_async_callback(server.stop)
            await server.start()
            return server

        yield start
