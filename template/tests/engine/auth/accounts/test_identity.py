"""The id of a user: it never changes, and no other user ever gets it."""

import secrets
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import delete, update

from app.auth.accounts.database import Database, open_database
from app.auth.accounts.names import name_key
from app.auth.accounts.store import Account, Accounts
from tests.engine.example_server import ExampleServer
from tests.support.auth import sign_in
from tests.support.auth.accounts import PASSWORD
from tests.support.client import open_client
from tests.support.server import AppServer

pytest_plugins = ["tests.engine.auth.accounts.database"]

PATHS = ["/ws", "/ws/echo"]
API_KEY = secrets.token_urlsafe(32)


@pytest.fixture(scope="module")
def server_database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('accounts') / 'app.db'}"


@pytest_asyncio.fixture(scope="module")
async def server(
    server_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AppServer]:
    """One server for all of these tests, with the broker `memory://`."""
    settings = {"DATABASE_URL": server_database_url, "API_KEYS": API_KEY}
    async with ExampleServer(tmp_path_factory.mktemp("server"), settings).running() as server:
        yield server


async def rename(database_url: str, user_id: str, name: str) -> None:
    """Change the name of an account, as its owner might."""
    change = update(Account).where(Account.id == user_id).values(name=name, key=name_key(name))
    async with open_database(database_url) as database, database.transaction() as session:
        await session.execute(change)


# --- On the wire ----------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
async def test_a_socket_and_auth_me_name_the_same_user(server: AppServer, path: str) -> None:
    credentials = await sign_in(server.url, "Ada")
    async with httpx.AsyncClient(base_url=server.url, headers=credentials.headers) as http:
        me = (await http.get("/auth/me")).json()

    async with open_client(server.ws_url, credentials, path) as client:
        await client.expect("welcome", user={"id": me["id"], "name": "Ada"})

    assert me == {"id": me["id"], "username": "Ada"}


async def test_every_login_of_a_user_has_the_same_id_and_every_user_another(
    server: AppServer,
) -> None:
    ids = []
    for name in ("Ada", "ADA", "Grace"):
        async with open_client(server.ws_url, await sign_in(server.url, name)) as client:
            await client.expect("welcome")
            ids.append(client.user["id"])

    ada, ada_again, grace = ids
    assert ada == ada_again
    assert ada != grace


async def test_a_user_keeps_the_id_when_the_name_changes(
    server: AppServer, server_database_url: str, room: str
) -> None:
    before = await sign_in(server.url, "Joan Clarke")
    async with (
        open_client(server.ws_url, await sign_in(server.url, "Grace")) as other,
        open_client(server.ws_url, before) as client,
    ):
        await other.join(room)
        await client.join(room)
        await other.expect("presence", user=client.user, event="join")
        await client.publish(room, "with the former name", id="1")
        await other.expect("message", id="1", sender=client.user)
        await client.socket.close()
        await other.expect("presence", user=client.user, event="leave")
        user_id = client.user["id"]
        assert client.user == {"id": user_id, "name": "Joan Clarke"}

        await rename(server_database_url, user_id, "Joan Murray")

        after = await sign_in(server.url, "Joan Murray")
        renamed = {"id": user_id, "name": "Joan Murray"}
        async with open_client(server.ws_url, after) as again:
            await again.expect("welcome", user=renamed)
            joined = await again.join(room)
            assert joined["count"] == len(joined["members"]) == 2
            assert renamed in joined["members"]
            await other.expect("presence", user=renamed, event="join")
            await again.publish(room, "with the new name", id="2")
            await other.expect("message", id="2", sender=renamed)
            await again.signal(room, "chat.typing")
            await other.expect("signal", event="chat.typing", sender=renamed)
        await other.expect("presence", user=renamed, event="leave")


async def test_a_login_from_before_a_change_of_name_shows_the_new_name(
    server: AppServer, server_database_url: str
) -> None:
    credentials = await sign_in(server.url, "Sophie Wilson")
    async with open_client(server.ws_url, credentials) as client:
        await client.expect("welcome")
        user_id = client.user["id"]

    await rename(server_database_url, user_id, "Sophie W.")

    renamed = {"id": user_id, "name": "Sophie W."}
    async with open_client(server.ws_url, credentials) as client:
        await client.expect("welcome", user=renamed)
    async with httpx.AsyncClient(base_url=server.url, headers=credentials.headers) as http:
        me = (await http.get("/auth/me")).json()
    assert me == {"id": user_id, "username": "Sophie W."}


async def test_a_user_receives_notifications_from_before_a_change_of_name(
    server: AppServer, server_database_url: str
) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "Radia Perlman")) as client:
        await client.expect("welcome")
        position = await client.join("@me")
        user_id = client.user["id"]

    notification = {"user": user_id, "event": "chat.message", "data": {"text": "hello"}, "id": "1"}
    headers = {"Authorization": f"Bearer {API_KEY}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as http:
        assert (await http.post("/api/publish", json=notification)).status_code == 202
    await rename(server_database_url, user_id, "Radia P.")

    async with open_client(server.ws_url, await sign_in(server.url, "Radia P.")) as client:
        joined = await client.join("@me", since=position)
        assert joined["recovered"]
        await client.expect("message", room="@me", id="1", data={"text": "hello"})


# --- In the database ------------------------------------------------------------


async def test_the_id_of_a_deleted_account_is_not_given_again(database: Database) -> None:
    accounts = Accounts(database)
    ids = []
    for _ in range(5):
        ids.append((await accounts.add("Ada", PASSWORD)).id)
        async with database.transaction() as session:
            await session.execute(delete(Account))

    assert len(set(ids)) == 5
