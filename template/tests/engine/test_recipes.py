"""The recipes in `docs/recipes.md`, as they stand there, all in one application."""

import asyncio
import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.engine.own_project import OwnProject, OwnServer, code_blocks
from tests.support.auth import sign_in
from tests.support.client import Client, open_client
from tests.support.server import PROJECT, AppServer

RECIPES = PROJECT / "docs" / "recipes.md"
BLOCKS = code_blocks(RECIPES.read_text()) if RECIPES.exists() else []

pytestmark = pytest.mark.skipif(not BLOCKS, reason="docs/recipes.md is not there any more")

TABLES_IN_MIGRATIONS = """
import sqlalchemy as sa
from alembic import op

revision = "recipes_0001"
down_revision = "accounts_1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    import app.archive
    import app.clubs
    from app.auth import Base

    names = ("club_members", "messages")
    tables = [Base.metadata.tables[name] for name in names]
    Base.metadata.create_all(op.get_bind(), tables=tables)
"""
"""What `alembic revision --autogenerate` would write, in short."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> OwnProject:
    project = OwnProject(tmp_path_factory.mktemp("recipes"))
    for name, code in BLOCKS:
        if name == "app/permissions.py":
            project.replace(name, code)
        else:
            project.add(name, code)
    if (project.folder / "migrations").exists():
        project.add("migrations/versions/recipes_0001.py", TABLES_IN_MIGRATIONS)
    return project


@pytest_asyncio.fixture(scope="module")
async def server(broker_url: str, project: OwnProject) -> AsyncIterator[AppServer]:
    """The application with all recipes, in place of the one that all tests share."""
    folder = project.folder
    settings = {"BROKER_URL": broker_url, "HISTORY_SIZE": "5"}
    async with OwnServer(folder, settings).running() as server:
        await server.wait_for_status("/readyz", 200)
        yield server


@pytest_asyncio.fixture
async def alice(server: AppServer) -> AsyncIterator[Client]:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as client:
        await client.expect("welcome")
        yield client


async def post(server: AppServer, path: str) -> int:
    headers = (await sign_in(server.url, "alice")).headers
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as http:
        return (await http.post(path)).status_code


async def test_a_route_tells_a_room(server: AppServer, alice: Client) -> None:
    await alice.join("orders.7")
    assert await post(server, "/orders/7/ship") == 202
    await alice.expect("message", room="orders.7", event="order.shipped", data={"order": 7})


async def test_a_route_notifies_one_user(server: AppServer, alice: Client) -> None:
    await alice.join("@me")
    assert await post(server, f"/users/{alice.user['id']}/greet") == 202
    await alice.expect("message", room="@me", event="greeting")


async def test_a_model_streams_its_answer(alice: Client) -> None:
    await alice.join("@me")
    await alice.send(type="call", id="1", event="ask", data={"question": "why?"})
    tokens = [(await alice.expect("signal", room="@me"))["data"]["text"] for _ in range(3)]
    assert tokens == ["You", " asked: ", "why?"]
    await alice.expect("message", room="@me", id="1", data={"text": "You asked: why?"})
    assert {"type": "result", "id": "1"} in [*alice.seen, *await alice.on_the_way()]


async def test_others_see_a_cursor_move(server: AppServer, alice: Client, room: str) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "bob")) as bob:
        await alice.join(room)
        await bob.join(room)
        await alice.signal(room, "cursor.moved", x=1.5, y=2)
        await bob.expect("signal", sender=alice.user, data={"x": 1.5, "y": 2.0})


async def test_a_rule_reads_the_database(server: AppServer, alice: Client, room: str) -> None:
    club = f"club.{room}"[:64]
    for database in server.folder.glob("*.db"):
        if database.name != "archive.db":
            add_member(database, club, alice.user["id"])
    add_member(server.folder / "clubs.db", club, alice.user["id"])
    await alice.join(club)
    async with open_client(server.ws_url, await sign_in(server.url, "bob")) as bob:
        await bob.send(type="join", room=club)
        await bob.expect("error", code="forbidden", room=club)


def add_member(database: Path, room: str, user: str) -> None:
    """Make a user a member, in the table of the accounts' database or of the recipe's own."""
    is_own = database.name == "clubs.db"
    table = "members" if is_own else "club_members"
    with sqlite3.connect(database, timeout=10) as connection:
        if is_own:
            columns = "(room TEXT, user_id TEXT)"
            connection.execute(f"CREATE TABLE IF NOT EXISTS {table} {columns}")
        connection.execute(f"INSERT INTO {table} (room, user_id) VALUES (?, ?)", (room, user))  # noqa: S608
    connection.close()


async def test_messages_are_stored_and_read_page_by_page(
    server: AppServer, alice: Client, room: str
) -> None:
    await alice.join(room)
    for number in range(30):
        await alice.publish(room, str(number), id=f"{room}-{number}"[-64:])
        await alice.expect("message")
    await alice.publish(room, "29", id=f"{room}-29"[-64:])  # again: it is stored once
    await alice.send(type="history", room=room)
    remembered = await alice.expect("history", complete=True)
    assert len(remembered["messages"]) == 5
    texts: list[str] = []
    before: int | None = None
    while page := (await alice.call("archive.get", room=room, before=before))["data"]["messages"]:
        texts += [message["text"] for message in page]
        before = page[-1]["number"]
    assert texts == [str(number) for number in reversed(range(30))]
    async with open_client(server.ws_url, await sign_in(server.url, "bob")) as bob:
        answer = await bob.call("archive.get", room=room)
        assert (answer["code"], answer["detail"]) == ("refused", "join the room first")


async def test_a_worker_process_reports_progress(
    server: AppServer, broker_url: str, alice: Client
) -> None:
    if broker_url == "memory://":
        return  # which carries messages within one process only
    await alice.join("@me")
    code = f"from app.worker import import_rows; import_rows({alice.user['id']!r}, ['a'] * 4)"
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code),
        cwd=server.folder,
        env={"PATH": os.environ["PATH"], "BROKER_URL": broker_url},
    )
    percents = [(await alice.expect("signal"))["data"]["percent"] for _ in range(4)]
    assert percents == [25, 50, 75, 100]
    await alice.expect("message", event="import.done", data={"rows": 4})
    assert await worker.wait() == 0
