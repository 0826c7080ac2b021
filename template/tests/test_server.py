"""How the server starts, tells how it is, and ends."""

import asyncio
import os
import signal
import sys

import httpx
import pytest

from tests.auth import sign_in
from tests.client import open_client
from tests.conftest import StartServer
from tests.server import PROJECT, AppServer, free_port


async def test_healthy_and_ready(server: AppServer) -> None:
    await server.wait_for_status("/healthz", 200)
    await server.wait_for_status("/readyz", 200)


async def test_termination_closes_sockets_with_1012_and_ends(start_server: StartServer) -> None:
    server = await start_server()
    credentials = await sign_in(server.url, "alice")
    async with (
        open_client(server.ws_url, credentials) as client,
        open_client(server.ws_url, credentials, "/ws/echo") as echo,
    ):
        await client.join("lobby")
        await server.stop()
        for socket in (client.socket, echo.socket):
            await socket.wait_closed()
            assert socket.close_code == 1012
    log = server.read_log()
    assert "Application shutdown complete" in log
    assert "Traceback" not in log
    assert "destroyed" not in log


async def test_port_in_use_is_said(server: AppServer, start_server: StartServer) -> None:
    with pytest.raises(AssertionError, match="Address already in use"):
        await start_server(PORT=server.port)


async def test_fastapi_dev_serves() -> None:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fastapi", "dev", "--port", str(port)),
        cwd=PROJECT,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(20), httpx.AsyncClient() as http:
            while True:
                try:
                    answer = await http.get(f"http://127.0.0.1:{port}/readyz")
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
                else:
                    break
        assert answer.json() == {"status": "ready"}
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        await process.wait()
