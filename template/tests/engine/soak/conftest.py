"""Long tests under load and with faults: `pytest -m soak`.

They read /proc, so they run on Linux only. The summary shows what they measured.
"""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from tests.engine.soak.server import SoakServer

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]

StartSoakServer = Callable[..., Awaitable["SoakServer"]]
Measured = Callable[[str, object], None]


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """Records a name and a number for the summary."""

    def note(name: str, value: object) -> None:
        text = f"{value:.3g}" if isinstance(value, float) else str(value)
        request.node.user_properties.append((name, text))

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if report.user_properties
    ]
    if reports:
        terminalreporter.section("measured")
    for report in reports:
        terminalreporter.write_line(f"{report.nodeid} {report.outcome}, {report.duration:.0f} s")
        for name, value in report.user_properties:
            terminalreporter.write_line(f"    {name}: {value}")


@pytest_asyncio.fixture
async def start_server(folder: Path) -> AsyncIterator[StartSoakServer]:
    """Starts servers with the settings given as keywords. They must not log a failure."""
    from tests.engine.soak.server import SoakServer, allow_many_sockets  # noqa: PLC0415 - Linux only

    allow_many_sockets()
    servers: list[SoakServer] = []
    async with AsyncExitStack() as stack:

        async def start(**settings: object) -> SoakServer:
            settings = {"MAX_CONNECTIONS_PER_ADDRESS": 0, "MAX_CONNECTIONS_PER_USER": 0} | settings
            server = SoakServer(folder, {name: str(value) for name, value in settings.items()})
            servers.append(server)
            stack.push_async_callback(server.stop)
            await server.start()
            return server

        yield start
    failures = [line for server in servers for line in server.failures()]
    assert not failures, f"the log has {len(failures)} failures: {failures[:10]}"
