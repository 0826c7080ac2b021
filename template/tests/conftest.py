"""What the tests of this application share: a server, and users with a client each.

This file is yours.
"""

import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.auth import sign_in
from tests.support.client import Client, open_client
from tests.support.server import AppServer

API_KEY = secrets.token_urlsafe(32)


@pytest_asyncio.fixture(scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AppServer]:
    """The application as `python -m app` serves it, with the broker `memory://`."""
    settings = {"API_KEYS": API_KEY}
    async with AppServer(tmp_path_factory.mktemp("server"), settings).running() as server:
        yield server


@pytest_asyncio.fixture
async def alice(server: AppServer) -> AsyncIterator[Client]:
    """A client of a user. `alice.user` has the user's id and name."""
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as client:
        await client.expect("welcome")
        yield client


@pytest_asyncio.fixture
async def bob(server: AppServer) -> AsyncIterator[Client]:
    """A client of another user."""
    async with open_client(server.ws_url, await sign_in(server.url, "bob")) as client:
        await client.expect("welcome")
        yield client


@pytest.fixture
def room() -> str:
    """A room for one test."""
    return f"room.{secrets.token_hex(8)}"
