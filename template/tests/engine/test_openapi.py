"""The API's own description, taken at its word: no request that comes to mind makes it fail."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest_asyncio

from tests.support.auth import sign_in
from tests.support.server import AppServer

EXAMPLES = 15
"""Random requests for each operation, beside those at the border of what is valid."""

SECONDS = 60.0
"""What a run may take at most; it takes a few."""


@pytest_asyncio.fixture(scope="module")
async def server(folder: Path) -> AsyncIterator[AppServer]:
    """In place of the server that the tests share: its log is searched."""
    async with AppServer(folder, {}).running() as server:
        yield server


async def schemathesis(server: AppServer, folder: Path, *options: str) -> str:
    """Run it against the server, and return what it says. Raises AssertionError for a 5xx."""
    command = [
        *("-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"),
        *("--checks", "not_a_server_error", "--phases", "examples,coverage,fuzzing"),
        # In one thread: in several, hypothesis meets python/cpython#106905 before 3.11.8.
        *("--max-examples", str(EXAMPLES), "--seed", "1", "--no-shrink", "--workers", "1"),
        *("--warnings", "off"),
    ]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *command, *options),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode()[-3000:]
    return output.decode()


async def test_no_request_gets_a_5xx(server: AppServer, tmp_path: Path) -> None:
    credentials = await sign_in(server.url, "alice")
    said = await schemathesis(server, tmp_path)
    async with httpx.AsyncClient(base_url=server.url) as http:
        operations = (await http.get("/openapi.json")).json()["paths"]
    assert f"{len(operations)} " in said
    if credentials.headers:
        known = [f"{name}: {value}" for name, value in credentials.headers.items()]
        options = [option for header in known for option in ("--header", header)]
        # Once, whoever was known is not any more.
        await schemathesis(server, tmp_path, *options, "--exclude-path-regex", "out$")
    log = server.read_log()
    assert "Traceback" not in log
    assert "ERROR" not in log
