"""What the log contains, and what it never contains."""

import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.realtime.server.logs import log_config
from tests.engine.example_server import ExampleServer
from tests.support.auth import sign_in
from tests.support.client import Client, Credentials, open_client
from tests.support.server import AppServer

MARKER = "marker-that-nobody-may-log"

ENVIRONMENTS = ["development", "production"]


async def converse(server: AppServer, credentials: Credentials) -> None:
    """Send the marker in every place where a client can send something."""
    async with open_client(server.ws_url, credentials, f"/ws?ticket={MARKER}") as alice:
        await alice.join("logs")
        await alice.publish("logs", MARKER, id=MARKER)
        await alice.expect("message", data={"text": MARKER})
        await alice.signal("logs", "chat.typing", field=MARKER)
        for kind in ("publish", "signal", "call", MARKER):
            await alice.send(type=kind, room="logs", id=MARKER, event=MARKER, data={"text": MARKER})
            await alice.expect("error", code="invalid")
        await alice.send(type="history", room="logs")
        await alice.expect("history")
        await alice.socket.close(1000, MARKER)
    async with open_client(server.ws_url, credentials, f"/ws?ticket={MARKER}") as alice:
        await alice.socket.send(MARKER.encode())
        await end_of(alice)
    for frame in (b"\xff" + MARKER.encode(), MARKER.encode() * 4000):
        async with open_client(server.ws_url, credentials) as alice:
            await alice.socket.send(frame, text=True)
            await end_of(alice)
    async with open_client(server.ws_url, credentials, f"/ws/echo/x?every=9&t={MARKER}") as echo:
        await echo.socket.send(MARKER)
    for path in (f"/ws/nothing?ticket={MARKER}", f"/ws/echo/x?every={MARKER}"):
        with pytest.raises((InvalidStatus, ConnectionClosed)):
            async with open_client(server.ws_url, credentials, path) as client:
                await client.expect("never")
    await server.wait_for_status(f"/healthz?token={MARKER}", 200)
    await server.wait_for_status(f"/nothing?token={MARKER}", 404)


async def end_of(client: Client) -> None:
    with pytest.raises(ConnectionClosed):
        await client.expect("never")


@dataclass
class Log:
    """Everything that a server logged, and the credentials with which it was used."""

    environment: str
    text: str
    credentials: Credentials


@asynccontextmanager
async def running(folder: Path, **settings: str) -> AsyncIterator[AppServer]:
    server = ExampleServer(folder, settings)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest_asyncio.fixture(scope="module", params=ENVIRONMENTS)
async def log(request: pytest.FixtureRequest, folder: Path) -> Log:
    # The first server, in development, makes the user that the second one knows.
    async with running(folder) as first:
        await sign_in(first.url, "alice")
    async with running(folder, ENVIRONMENT=request.param) as server:
        credentials = await sign_in(server.url, "alice")
        await converse(server, credentials)
    return Log(request.param, server.read_log(), credentials)


def test_no_payload_and_no_credential_is_logged(log: Log) -> None:
    assert '"WebSocket /ws" [accepted]' in log.text or r"\"WebSocket /ws\" [accepted]" in log.text
    assert "GET /healthz" in log.text
    assert MARKER not in log.text
    for name, value in log.credentials.headers.items():
        secret = re.split("[= ]", value, maxsplit=1)[-1]
        assert name == "Origin" or secret not in log.text


def test_mistakes_of_clients_are_not_logged_as_failures(log: Log) -> None:
    assert "Traceback" not in log.text
    assert "ERROR" not in log.text


def test_every_line_is_a_record(log: Log) -> None:
    for line in log.text.splitlines():
        if log.environment == "production":
            assert {"level", "logger", "message", "timestamp"} <= json.loads(line).keys()
        else:
            assert re.match(r"[\d-]{10} [\d:,]{12} [A-Z]+ [a-z.]+: ", line)


def test_a_close_is_logged_with_its_connection_and_user(log: Log) -> None:
    (line,) = (line for line in log.text.splitlines() if re.search(r'code(=|": )1003\b', line))
    if log.environment == "production":
        record = json.loads(line)
        assert record["connection"]
        assert record["user"]
        assert record["user_name"]
    else:
        assert re.search(r'connection="\w+"', line)
        assert re.search(r'user="[\w-]+"', line)
        assert re.search(r'user_name="[\w-]+"', line)


# --- The formatters -------------------------------------------------------------


@pytest.fixture(params=ENVIRONMENTS)
def formatter(request: pytest.FixtureRequest) -> logging.Formatter:
    options = log_config(request.param)["formatters"][request.param]
    made: logging.Formatter = options.pop("()")(**options)
    return made


def make_record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "app", "levelname": "INFO", "msg": message})
    vars(made).update(fields)
    return made


FORGED = "alice\n2026-01-01 00:00:00,000 INFO app: forged\r\x1b[2K\x85\u2028\u202eevil"


def test_a_message_or_a_field_cannot_forge_a_record(formatter: logging.Formatter) -> None:
    line = formatter.format(make_record(f"hello {FORGED}", user=FORGED, reason=FORGED))
    assert line.isprintable()


def test_a_traceback_cannot_forge_a_record(formatter: logging.Formatter) -> None:
    try:
        raise ValueError(FORGED)
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    first, *rest = formatter.format(make_record("failed", exc_info=info)).splitlines()
    assert "failed" in first
    assert all(line.startswith("    ") and line.isprintable() for line in rest)


def test_fields_are_logged(formatter: logging.Formatter) -> None:
    line = formatter.format(make_record("closed", connection="c1", user="Zoë Q", code=1013))
    for shown in ("c1", "1013"):
        assert shown in line
    assert "Zoë Q" in line or json.loads(line)["user"] == "Zoë Q"
