"""The log never contains a credential.

The tests use everything that takes a credential, with right ones, with wrong ones, and in
places where they don't belong. Then they search the log.
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from tests.engine.server.test_logs import ENVIRONMENTS, running
from tests.support.auth import SETTINGS, sign_in
from tests.support.auth.accounts import PASSWORD
from tests.support.client import open_client
from tests.support.server import AppServer

WRONG = "a wrong guess that was nearly right"


class Secrets:
    """What no log may contain."""

    def __init__(self) -> None:
        self.known = {PASSWORD, WRONG, *SETTINGS["SECRET_KEYS"].split(",")}

    def add(self, value: str) -> None:
        parts = value.replace("=", " ").replace(".", " ").split()
        self.known.update(part for part in [value, *parts] if len(part) > 12)

    def learn(self, answer: httpx.Response) -> httpx.Response:
        """Remember the credentials in an answer."""
        fields = answer.json() if answer.content else {}
        public = {"detail", "id", "username"}
        credentials = [value for name, value in fields.items() if name not in public]
        for value in [*answer.cookies.values(), *credentials]:
            self.add(str(value))
        return answer

    def found_in(self, log: str) -> list[str]:
        forms = {write(secret) for secret in self.known for write in (str, quote, quote_plus)}
        return sorted(form for form in forms if form in log)


async def send_requests(server: AppServer, secrets: Secrets) -> None:
    """Log in and out, and send each request in which somebody might put a secret."""
    async with httpx.AsyncClient(base_url=server.url) as http:
        form = {"username": "alice", "password": PASSWORD}
        login = secrets.learn(await http.post("/auth/login", data=form))
        assert login.status_code == 200
        await http.post("/auth/login", data={**form, "password": WRONG})
        await http.post("/auth/login", data={"username": WRONG, "password": PASSWORD})
        await http.post("/auth/login", json=form)
        await http.post("/auth/login", params=form)
        await http.post("/auth/register", data={**form, "username": "bob\n"})
        for secret in list(secrets.known):
            await http.get("/auth/me", headers={"Authorization": f"Token {secret}"})
            await http.get("/nothing", params={"token": secret})
            await present_anywhere(server, secret)
        ended = await http.post("/auth/logout", data=login.json())
        assert ended.status_code == 204
        for secret in list(secrets.known):
            await present_anywhere(server, secret)


async def present_anywhere(server: AppServer, secret: str) -> None:
    """Try to open sockets with a secret. It may fail."""
    name = quote_plus(secret)
    handshakes: list[tuple[str, dict[str, Any]]] = [
        (f"/ws?token={name}&ticket={name}", {}),
        (f"/ws/echo/x?every=1&token={name}", {}),
        (f"/ws/nothing?token={name}", {}),
        ("/ws", {"additional_headers": {"Authorization": f"Token {secret}"}}),
        ("/ws", {"additional_headers": {"Cookie": f"session={secret}", "Origin": server.url}}),
        ("/ws", {"additional_headers": {"Authorization": secret, "Origin": "https://e.example"}}),
        ("/ws", {"subprotocols": [Subprotocol("realtime.v1"), Subprotocol(name)]}),
    ]
    for path, options in handshakes:
        with suppress(InvalidHandshake, ConnectionClosed):
            async with connect(server.ws_url + path, **options) as socket:
                await socket.send(json.dumps({"type": "auth", "token": f"{secret}."}))
                await socket.send(secret.encode())
                await socket.wait_closed()


async def send_on_sockets(server: AppServer, secrets: Secrets) -> None:
    """Open sockets of both kinds, and send the secrets on them."""
    credentials = await sign_in(server.url, "alice")
    for value in [*credentials.headers.values(), credentials.first_frame or ""]:
        for part in value.replace('"', " ").split():
            secrets.add(part)
    secrets.known.discard(server.url)
    for path in ("/ws", "/ws/echo"):
        async with open_client(server.ws_url, credentials, path) as client:
            await client.expect("welcome")
            for secret in secrets.known:
                await client.send(type="refresh", token=secret)
                await client.send(type="join", room=secret)
                await client.send(type=secret)
            await client.send(type="ping")
            await client.expect("pong" if path == "/ws" else "ping")
            await client.socket.close(1000, PASSWORD)


@pytest_asyncio.fixture(scope="module", params=ENVIRONMENTS)
async def log(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Secrets]:
    folder: Path = tmp_path_factory.mktemp("logs")
    secrets = Secrets()
    # Production registers nobody, so a server in development creates the user.
    async with running(folder) as first:
        await send_on_sockets(first, secrets)
        settings = {"ENVIRONMENT": request.param, "ALLOWED_ORIGINS": first.url}
        async with running(folder, **settings) as server:
            await send_requests(server, secrets)
    return first.read_log() + server.read_log(), secrets


def test_the_log_contains_no_credential(log: tuple[str, Secrets]) -> None:
    text, secrets = log
    assert len(secrets.known) >= 5
    assert secrets.found_in(text) == []


def test_the_log_contains_no_query_string(log: tuple[str, Secrets]) -> None:
    text, _ = log
    assert "/ws/nothing" in text
    assert "?" not in text


def test_the_log_contains_no_error(log: tuple[str, Secrets]) -> None:
    text, _ = log
    for word in ("Traceback", "ERROR"):
        assert word not in text
