"""Log in with the client, and with the chat's form."""

import asyncio
import secrets

import pytest
from textual.widgets import Button, Input, Label

from client import Unauthenticated, Unreachable, connect
from client.auth import Login, Refused, register
from client.chat.app import Chat, Identity
from client.chat.auth.accounts.screen import LoginScreen
from tests.engine.client.python.terminal import PATIENCE
from tests.support.auth.accounts import PASSWORD
from tests.support.server import AppServer, StartServer


@pytest.fixture
def name() -> str:
    """Of a user who has no account yet."""
    return f"user-{secrets.token_hex(4)}"


async def test_a_registered_user_connects(server: AppServer, name: str) -> None:
    await register(server.url, name, PASSWORD)
    login = Login(name, PASSWORD)
    async with connect(f"{server.ws_url}/ws", login) as client:
        assert client.user.name == name
    assert PASSWORD not in repr(login)
    assert PASSWORD not in repr(await login.handshake(server.url))


async def test_a_wrong_password_ends_the_attempt(server: AppServer, name: str) -> None:
    await register(server.url, name, PASSWORD)
    with pytest.raises(Unauthenticated):
        await asyncio.create_task(begin(f"{server.ws_url}/ws", Login(name, "wrong" * 3)))
    with pytest.raises(Unauthenticated, match="log in again"):
        await begin(f"{server.ws_url}/ws", Login(name))
    with pytest.raises(Refused):
        await register(server.url, name, PASSWORD)


async def begin(url: str, login: Login) -> None:
    async with asyncio.timeout(PATIENCE), connect(url, login):
        """Nothing else."""


async def test_it_logs_in_again_when_the_login_has_ended(
    start_server: StartServer, name: str
) -> None:
    server = await start_server()
    await register(server.url, name, PASSWORD)
    login, other = Login(name, PASSWORD), Login(name, PASSWORD)
    async with asyncio.timeout(20), connect(f"{server.ws_url}/ws", login) as client:
        room = await client.join("@me")
        await login.log_out(server.url)
        while room.is_inside:
            await asyncio.sleep(0.01)
        while not room.is_inside:
            await asyncio.sleep(0.01)
    with pytest.raises(Unreachable):
        await other.log_in("http://127.0.0.1:9/")


async def test_the_form_registers_and_logs_in(server: AppServer, name: str) -> None:
    found: list[Identity | None] = []

    async def start(chat: Chat) -> Identity | None:
        found.append(await chat.push_screen_wait(LoginScreen(server.url)))
        return None

    chat = Chat(start, room="lobby")
    async with asyncio.timeout(20), chat.run_test() as pilot:
        while not chat.screen.query("#username"):
            await pilot.pause(0.01)
        screen = chat.screen
        for field, value in (("username", name), ("password", PASSWORD)):
            screen.query_one(f"#{field}", Input).value = value
        screen.query_one("#login", Button).press()
        problem = screen.query_one("#problem", Label)
        while not str(problem.content).startswith("The user name or"):
            await pilot.pause(0.02)
        screen.query_one("#register", Button).press()
        while not found:
            await pilot.pause(0.02)
    assert found[0] is not None
    assert found[0].url == f"{server.ws_url}/ws"
