"""The promises hold under a server that takes no prebuilt frames, such as plain uvicorn.

The tests are those of other files, on the memory broker. Only the server is another one.
"""

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType

import pytest
import pytest_asyncio

from tests.engine import test_realtime, test_recovery, test_signals, test_slow_client
from tests.engine.example_server import PLAIN_UVICORN, ExampleServer
from tests.support.server import AppServer, StartServer

UVICORN = {
    "PING_INTERVAL": "UVICORN_WS_PING_INTERVAL",
    "PING_TIMEOUT": "UVICORN_WS_PING_TIMEOUT",
    "MAX_FRAME_BYTES": "UVICORN_WS_MAX_SIZE",
}
"""What uvicorn calls the settings that `python -m app` passes on to it."""

LEFT_OUT = {
    # Plain uvicorn logs a traceback.
    "test_text_that_is_not_utf8_closes_with_1007",
    # `python -m app` sets an option of the listening socket.
    "test_the_kernel_drops_a_client_that_never_reads_again",
    # Through ASGI, a client is behind during each write, and newer signals replace older ones.
    "test_signals_and_messages_arrive_in_the_order_in_which_they_were_sent",
    # They take long or are many, and say nothing of the server.
    "test_a_room_remembers_messages_as_long_as_the_setting_says",
    "test_either_limit_of_the_outbox_closes_a_slow_client",
    "test_an_invalid_message_is_answered_and_the_socket_stays_open",
    "test_no_client_reaches_the_room_of_another_user",
}


def plain_server(folder: Path, **settings: object) -> ExampleServer:
    """A plain uvicorn with these settings."""
    environment = {name: str(value) for name, value in settings.items()}
    for name, value in {"MAX_FRAME_BYTES": "65536", **environment}.items():
        if name in UVICORN:
            environment[UVICORN[name]] = value
    # With compression, a slow client would take long to fill the buffers.
    environment["UVICORN_WS_PER_MESSAGE_DEFLATE"] = "false"
    return ExampleServer(folder, environment, PLAIN_UVICORN)


@pytest.fixture(scope="module")
def broker_url() -> str:
    """The broker, in place of each in turn."""
    return "memory://"


@pytest_asyncio.fixture(scope="module")
async def server(folder: Path) -> AsyncIterator[AppServer]:
    """A plain uvicorn, in place of the server that the tests share."""
    async with plain_server(folder, PING_INTERVAL=1).running() as server:
        yield server


@pytest_asyncio.fixture
async def start_server(folder: Path) -> AsyncIterator[StartServer]:
    """Starts plain uvicorns, in place of `python -m app`."""
    async with AsyncExitStack() as stack:

        async def start(**settings: object) -> AppServer:
            server = plain_server(folder, **settings)
            stack.push_async_callback(server.stop)
            await server.start()
            return server

        yield start


def promises_of(module: ModuleType) -> dict[str, Callable[..., object]]:
    """The tests of a module that use a server."""
    tests = {name: it for name, it in vars(module).items() if name.startswith("test_")}
    return {
        name: test
        for name, test in tests.items()
        if name not in LEFT_OUT
        and {"server", "start_server"} & inspect.signature(test).parameters.keys()
    }


for module in (test_realtime, test_recovery, test_signals, test_slow_client):
    globals().update(promises_of(module))
