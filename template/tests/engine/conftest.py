"""What the engine's tests share. All servers are real, and end with the session."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from tests.engine.example_server import EXAMPLE, ExampleServer
from tests.engine.own_project import OwnProject
from tests.support.broker import BROKERS
from tests.support.server import AppServer, StartServer

HERE = Path(__file__).parent
MARKS_OF_THEIR_OWN = {"browser", "soak"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder with `engine`, except what has a mark of its own."""
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        if HERE in item.path.parents and not marks & MARKS_OF_THEIR_OWN:
            item.add_marker("engine")


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
    settings = {"BROKER_URL": broker_url, "PING_INTERVAL": "1"}
    async with ExampleServer(folder, settings).running() as server:
        yield server


@pytest_asyncio.fixture
async def start_server(folder: Path) -> AsyncIterator[StartServer]:
    """Starts servers for one test, with the settings given as keywords.

    Positional arguments are the command that serves, if it is not `python -m app`.
    """
    async with AsyncExitStack() as stack:

        async def start(*command: str, **settings: object) -> AppServer:
            environment = {name: str(value) for name, value in settings.items()}
            server = ExampleServer(folder, environment, command or EXAMPLE)
            stack.push_async_callback(server.stop)
            await server.start()
            return server

        yield start


@pytest.fixture
def new_project(tmp_path: Path) -> Path:
    """The folder of a project as it was when it was new, for tests that run its commands."""
    return OwnProject(tmp_path).folder


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    """A room for one test."""
    return f"{request.node.originalname[:55]}.{secrets.token_hex(4)}"
