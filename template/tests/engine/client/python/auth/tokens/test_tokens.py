"""Tokens that were stored, and that are renewed on an open connection."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from client import Unauthenticated, connect
from client.auth import Login
from tests.support.auth import sign_in
from tests.support.auth.accounts import PASSWORD
from tests.support.server import AppServer


async def test_a_stored_token_needs_no_password(server: AppServer) -> None:
    await sign_in(server.url, "Ada")
    saved: list[str] = []
    await Login("Ada", PASSWORD, save=saved.append).log_in(server.url)
    async with connect(
        f"{server.ws_url}/ws", Login(refresh_token=saved[-1], save=saved.append)
    ) as client:
        assert client.user.name == "Ada"
    assert len(set(saved)) == 2
    await begin(f"{server.ws_url}/ws", Login(refresh_token=saved[-1]))
    with pytest.raises(Unauthenticated):
        await begin(f"{server.ws_url}/ws", Login(refresh_token="made-up"))


async def begin(url: str, login: Login) -> None:
    async with connect(url, login):
        """Nothing else."""


async def test_an_open_connection_gets_a_fresh_token_in_time(
    server: AppServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.auth.tokens.FRESH", 0)
    await sign_in(server.url, "Ada")
    login = Login("Ada", PASSWORD)
    first = await login.access_token(server.url)
    sent: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
    keeping = asyncio.create_task(login.while_open(server.url, sent.put))
    async with asyncio.timeout(5):
        refresh = await sent.get()
    keeping.cancel()
    assert refresh["type"] == "refresh"
    assert refresh["token"] != first
