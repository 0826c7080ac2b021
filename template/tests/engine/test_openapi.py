"""No request that the OpenAPI description allows, or nearly allows, makes the server fail."""

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.engine.example_server import ExampleServer
from tests.support.auth import sign_in
from tests.support.server import AppServer

API_KEY = secrets.token_urlsafe(32)

EXAMPLES = 15
"""Random requests for each operation, besides those at the limits of what is valid."""

SECONDS = 60.0
"""The longest that a run may take. It usually takes a few."""


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AppServer]:
    """A server of its own, because its log is searched, and its limits are reached."""
    folder = tmp_path_factory.mktemp("openapi")
    async with ExampleServer(folder, {"API_KEYS": API_KEY}).running() as server:
        yield server


async def schemathesis(server: AppServer, folder: Path, *options: str) -> str:
    """Run schemathesis against the server. Returns its output, and fails for a 5xx."""
    command = [
        *("-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"),
        *("--checks", "not_a_server_error", "--phases", "examples,coverage,fuzzing"),
        # One thread: with several, Hypothesis runs into python/cpython#106905 before 3.11.8.
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


async def test_no_request_is_answered_with_a_5xx(server: AppServer, tmp_path: Path) -> None:
    credentials = await sign_in(server.url, "alice")
    said = await schemathesis(server, tmp_path)
    async with httpx.AsyncClient(base_url=server.url) as http:
        operations = (await http.get("/openapi.json")).json()["paths"]
    assert f"{len(operations)} " in said
    key = ("--header", f"Authorization: Bearer {API_KEY}", "--include-path-regex", "^/api/")
    await schemathesis(server, tmp_path, *key)
    if credentials.headers:
        known = [f"{name}: {value}" for name, value in credentials.headers.items()]
        options = [option for header in known for option in ("--header", header)]
        # Routes that log out are left out: the credentials would be of no use after them.
        await schemathesis(server, tmp_path, *options, "--exclude-path-regex", "out$")
    log = server.read_log()
    assert "Traceback" not in log
    assert "ERROR" not in log
