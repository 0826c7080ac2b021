"""How the server starts, tells how it is, and ends."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

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


def start_with(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Start a server that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "app"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), **settings},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("PORT", "http"),
        ("PORT", "70000"),
        ("ENVIRONMENT", "staging"),
        ("BROKER_URL", "carrier-pigeon://loft"),
        ("BROKER_URL", "localhost"),
        ("WEB_CONCURRENCY", "2"),
        ("ALLOWED_ORIGINS", "https://example.com/path"),
        ("ALLOWED_ORIGINS", "*"),
        ("OUTBOX_BYTES", "-1"),
        ("PING_INTERVAL", "nan"),
    ],
)
def test_bad_setting_stops_the_start_with_a_sentence(
    tmp_path: Path, setting: str, value: str
) -> None:
    ended = start_with(tmp_path, **{setting: value})
    assert ended.returncode != 0
    assert setting in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_settings_come_from_a_dotenv_file_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=http\n")
    assert "PORT" in start_with(tmp_path).stderr


async def test_port_in_use_is_said(server: AppServer, tmp_path: Path) -> None:
    ended = await asyncio.to_thread(start_with, tmp_path, PORT=str(server.port))
    assert ended.returncode != 0
    assert "Address already in use" in ended.stderr


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
