"""A session that was stored."""

import pytest

from client import Unauthenticated, connect
from client.auth import Login
from tests.support.auth import sign_in
from tests.support.auth.accounts import PASSWORD
from tests.support.server import AppServer


async def test_a_stored_cookie_needs_no_password(server: AppServer) -> None:
    await sign_in(server.url, "Ada")
    login = Login("Ada", PASSWORD)
    await login.log_in(f"{server.url}/")
    async with connect(f"{server.ws_url}/ws", Login(cookie=login.cookie)) as client:
        assert client.user.name == "Ada"
    with pytest.raises(Unauthenticated):
        await begin(f"{server.ws_url}/ws", Login(cookie="session=made-up"))


async def test_a_password_renews_a_bad_cookie(server: AppServer) -> None:
    await sign_in(server.url, "Ada")
    login = Login("Ada", PASSWORD, cookie="session=made-up")
    await begin(f"{server.ws_url}/ws", login)
    assert login.cookie != "session=made-up"


async def begin(url: str, login: Login) -> None:
    async with connect(url, login):
        """Nothing else."""
