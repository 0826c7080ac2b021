"""How the server starts, reports its health, and ends."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import Request
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from app.realtime.application import MAX_BODY_BYTES
from app.realtime.server import run
from app.realtime.server.run import Workers, server_config
from tests.engine.example.main import create_app
from tests.engine.example.settings import Settings
from tests.engine.example_server import ExampleServer
from tests.support.auth import SETTINGS, sign_in
from tests.support.client import PATIENCE, open_client
from tests.support.server import AppServer, StartServer, free_port, run_module

REFUSING = """
from contextlib import asynccontextmanager
from fastapi import APIRouter
from tests.engine.example.main import app

@asynccontextmanager
async def lifespan(_):
    raise SystemExit("the sentence")
    yield

app.include_router(APIRouter(lifespan=lifespan))
"""


async def test_a_running_server_is_healthy_and_ready(server: AppServer) -> None:
    await server.wait_for_status("/healthz", 200)
    await server.wait_for_status("/readyz", 200)


async def test_the_application_imports_everything_that_it_needs(folder: Path) -> None:
    # Servers of other tests are forked from a process that has imported much already.
    server = ExampleServer(folder, {})
    server.is_forked = False
    async with server.running():
        await server.wait_for_status("/readyz", 200)


async def test_a_server_that_is_terminated_closes_its_sockets_with_1012_and_ends(
    start_server: StartServer,
) -> None:
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


def test_a_worker_that_ended_before_the_first_look_at_it_is_marked_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def replace_first(workers: Workers) -> None:
        workers.processes[0] = process(2)

    def process(pid: int) -> Any:
        return SimpleNamespace(pid=pid)

    dead: list[int] = []
    monkeypatch.setattr(Multiprocess, "keep_subprocess_alive", replace_first)
    monkeypatch.setattr(run, "mark_process_dead", dead.append)
    workers = Workers(server_config("app:app", Settings()), sockets=[])
    workers.processes = [process(1)]
    workers.keep_subprocess_alive()
    workers.keep_subprocess_alive()
    assert dead == [1]


@pytest.mark.parametrize("others_serve", [True, False])
def test_a_worker_that_cannot_start_ends_the_server_only_if_no_other_one_serves(
    monkeypatch: pytest.MonkeyPatch, *, others_serve: bool
) -> None:
    def give_up(workers: Workers) -> None:
        workers.should_exit.set()

    started: list[Any] = []

    def start_another(*_: object) -> Any:
        return SimpleNamespace(pid=3, start=lambda: started.append(3))

    monkeypatch.setattr(Multiprocess, "keep_subprocess_alive", give_up)
    monkeypatch.setattr(run, "mark_process_dead", lambda _: None)
    monkeypatch.setattr(run, "Process", start_another)
    workers = Workers(server_config("app:app", Settings()), sockets=[])
    failed = SimpleNamespace(pid=1, exitcode=STARTUP_FAILURE, is_ready=lambda _: False)
    other = SimpleNamespace(pid=2, exitcode=None, is_ready=lambda _: others_serve)
    processes: Any = [failed, other]
    workers.processes = processes
    workers.keep_subprocess_alive()
    assert workers.should_exit.is_set() is not others_serve
    assert [worker.pid for worker in workers.processes] == ([3, 2] if others_serve else [1, 2])
    assert started == ([3] if others_serve else [])


async def test_a_port_in_use_is_reported(server: AppServer, start_server: StartServer) -> None:
    with pytest.raises(AssertionError, match="Address already in use"):
        await start_server(PORT=server.port)


@pytest.mark.parametrize(
    ("headers", "status"),
    [(b"X: " + b"x" * 9000 + b"\r\n", b"431"), (b"X: " + b"x" * 100_000, b"400")],
    ids=["a long header", "one that does not end"],
)
async def test_a_handshake_that_cannot_be_read_is_refused(
    server: AppServer, headers: bytes, status: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
    writer.write(headers + b"\r\n")
    answer = b""
    # Data that the server did not read makes the kernel reset the connection.
    with suppress(ConnectionError):
        async with asyncio.timeout(PATIENCE):
            while piece := await reader.read(4096):
                answer += piece
    assert answer.startswith(b"HTTP/1.1 " + status) or (not answer and len(headers) > 65536)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


@pytest.mark.parametrize("is_announced", [True, False])
async def test_a_body_that_is_too_large_is_refused(is_announced: bool) -> None:
    settings = {name.lower(): value for name, value in SETTINGS.items()}
    app = create_app(Settings.model_validate(settings))
    received = []

    @app.post("/upload")
    async def upload(request: Request) -> None:
        received.append(await request.body())

    async def pieces(size: int) -> AsyncIterator[bytes]:
        for _ in range(size // 1024):
            yield b"x" * 1024

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        for size, status in ((MAX_BODY_BYTES, 200), (MAX_BODY_BYTES + 1024, 413)):
            content = b"x" * size if is_announced else pieces(size)
            assert (await http.post("/upload", content=content)).status_code == status
    assert [len(body) for body in received] == [MAX_BODY_BYTES]


async def test_a_lifespan_that_raises_system_exit_stops_the_start_with_its_sentence(
    tmp_path: Path,
) -> None:
    (tmp_path / "refusing.py").write_text(REFUSING)
    ended = run_module(tmp_path, "uvicorn", "refusing:app", "--port", "0", **SETTINGS)
    assert ended.returncode == 3
    assert "the sentence" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_fastapi_dev_serves(new_project: Path) -> None:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fastapi", "dev", "--port", str(port)),
        cwd=new_project,
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
