"""Tickets: each opens one socket, on any worker, within half a minute."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select, update

from app.auth.accounts.database import Database
from app.auth.accounts.logins import digest
from app.auth.ticket import TICKET_SECONDS, Ticket
from tests.engine.example_server import ExampleServer
from tests.support.auth.accounts import SETTINGS, handshake
from tests.support.auth.ticket import Session, sign_in
from tests.support.client import Credentials, open_client
from tests.support.server import AppServer, StartServer, run_module

pytest_plugins = ["tests.engine.auth.accounts.database"]

PATHS = ["/ws", "/ws/echo"]


@pytest_asyncio.fixture(scope="module")
async def servers(
    shared_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[list[AppServer]]:
    """Two workers on one database."""
    settings = {"DATABASE_URL": shared_database_url}
    pair: list[AppServer] = [
        ExampleServer(tmp_path_factory.mktemp("tickets"), settings) for _ in range(2)
    ]
    async with AsyncExitStack() as stack:
        for server in pair:
            stack.push_async_callback(server.stop)
        await asyncio.gather(*(server.start() for server in pair))
        yield pair
    for server in pair:
        assert "Traceback" not in server.read_log()


@pytest_asyncio.fixture(scope="module")
async def ada(servers: list[AppServer]) -> Session:
    """A session of the first server. No test ends it."""
    return await sign_in(servers[0].url, "Ada")


async def present(server: AppServer, ticket: str, path: str = "/ws") -> int:
    """The HTTP status that a handshake with a ticket gets."""
    return await handshake(f"{server.ws_url}{path}?ticket={ticket}")


async def age(database: Database, ticket: str, seconds: int) -> None:
    """Make a ticket older by so many seconds."""
    this = Ticket.hash == digest(ticket)
    async with database.transaction() as session:
        statement = update(Ticket).where(this).values(expires_at=Ticket.expires_at - seconds)
        await session.execute(statement)


# --- What a ticket opens --------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
async def test_a_ticket_opens_one_socket_for_its_user(
    servers: list[AppServer], ada: Session, path: str
) -> None:
    ticket = await ada.ticket()
    path = f"{path}?ticket={ticket}"

    async with open_client(servers[0].ws_url, Credentials(), path) as client:
        await client.expect("welcome")
        assert client.user["name"] == "Ada"

    assert await handshake(servers[0].ws_url + path) == 401


async def test_a_ticket_identifies_its_user_whoever_presents_it(
    servers: list[AppServer], ada: Session
) -> None:
    grace = await sign_in(servers[0].url, "Grace")
    path = f"/ws?ticket={await ada.ticket()}"

    async with open_client(servers[0].ws_url, Credentials(grace.headers), path) as client:
        await client.expect("welcome")
        assert client.user["name"] == "Ada"


async def test_a_ticket_that_was_used_on_one_worker_is_refused_by_another(
    servers: list[AppServer], ada: Session
) -> None:
    for first, second in [servers, servers[::-1]]:
        ticket = await ada.ticket()

        assert await present(first, ticket) == 101
        assert await present(second, ticket) == 401


async def test_one_of_eight_concurrent_handshakes_with_a_ticket_succeeds(
    servers: list[AppServer], ada: Session
) -> None:
    for _ in range(3):
        ticket = await ada.ticket()

        answers = await asyncio.gather(*(present(server, ticket) for server in servers * 4))

        assert sorted(answers) == [101] + [401] * 7


async def test_a_ticket_expires_after_half_a_minute(
    servers: list[AppServer], ada: Session, shared_database: Database
) -> None:
    early, late = await ada.ticket(), await ada.ticket()
    async with shared_database.transaction() as session:
        expires_at = await session.scalar(
            select(Ticket.expires_at).where(Ticket.hash == digest(late))
        )
    assert expires_at is not None
    assert expires_at <= time.time() + TICKET_SECONDS

    await age(shared_database, early, TICKET_SECONDS - 10)
    await age(shared_database, late, TICKET_SECONDS)

    assert await present(servers[0], early) == 101
    assert await present(servers[0], late) == 401


async def test_expired_tickets_are_deleted(ada: Session, shared_database: Database) -> None:
    ticket = await ada.ticket()
    await age(shared_database, ticket, TICKET_SECONDS)

    await ada.ticket()

    async with shared_database.transaction() as session:
        assert await session.get(Ticket, digest(ticket)) is None


async def test_logging_out_invalidates_the_tickets_of_the_session_and_no_others(
    servers: list[AppServer], ada: Session
) -> None:
    on_another_device = await sign_in(servers[0].url, "Ada")
    ticket, ticket_of_another = await ada.ticket(), await on_another_device.ticket()

    async with httpx.AsyncClient(base_url=servers[0].url) as http:
        answer = await http.post("/auth/logout", headers=on_another_device.headers)
    assert answer.status_code == 204

    for server in servers:
        assert await present(server, ticket_of_another) == 401
    assert await present(servers[1], ticket) == 101


@pytest.mark.parametrize("ticket", ["", "x", "%00", "%ff", "%ed%a0%80", "x" * 256], ids=ascii)
async def test_a_handshake_with_a_made_up_ticket_is_refused(
    servers: list[AppServer], ticket: str
) -> None:
    assert await present(servers[0], ticket) == 401


@pytest.mark.parametrize("path", PATHS)
async def test_a_handshake_with_a_session_but_without_a_ticket_is_refused(
    servers: list[AppServer], ada: Session, path: str
) -> None:
    assert await handshake(servers[0].ws_url + path, ada.headers) == 401


async def test_a_ticket_does_not_authenticate_requests(
    servers: list[AppServer], ada: Session
) -> None:
    ticket = await ada.ticket()

    async with httpx.AsyncClient(base_url=servers[0].url) as http:
        assert (await http.get("/auth/me", params={"ticket": ticket})).status_code == 401
        assert (await http.post("/auth/ticket", params={"ticket": ticket})).status_code == 401

    assert await present(servers[0], ticket) == 101


async def test_pages_of_allowed_origins_can_use_tickets_and_no_others_can(
    start_server: StartServer, servers: list[AppServer], ada: Session, shared_database_url: str
) -> None:
    origin = "https://app.example"
    server = await start_server(DATABASE_URL=shared_database_url, ALLOWED_ORIGINS=origin)

    for host, code in [(server, 101), (servers[0], 403)]:
        url = f"{host.ws_url}/ws?ticket={await ada.ticket()}"
        assert await handshake(url, {"Origin": origin}) == code


# --- Who gets a ticket ------------------------------------------------------------------


async def test_a_user_with_a_session_gets_tickets(servers: list[AppServer], ada: Session) -> None:
    async with httpx.AsyncClient(base_url=servers[0].url, headers=ada.headers) as http:
        answers = [await http.post("/auth/ticket") for _ in range(2)]

    first, second = (answer.json() for answer in answers)
    assert first.keys() == {"ticket", "expires_in"}
    assert first["expires_in"] == 30
    assert len(first["ticket"]) == 43  # 256 random bits
    assert first["ticket"] != second["ticket"]
    assert answers[0].headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("cookie", [None, "", "x", "x.y"])
async def test_a_client_without_a_session_gets_no_ticket(
    servers: list[AppServer], cookie: str | None
) -> None:
    headers = {} if cookie is None else {"Cookie": f"session={cookie}"}
    async with httpx.AsyncClient(base_url=servers[0].url) as http:
        assert (await http.post("/auth/ticket", headers=headers)).status_code == 401


async def test_a_page_of_another_origin_gets_no_ticket_for_its_visitor(
    servers: list[AppServer], ada: Session
) -> None:
    headers = {**ada.headers, "Origin": "https://evil.example"}
    async with httpx.AsyncClient(base_url=servers[0].url) as http:
        assert (await http.post("/auth/ticket", headers=headers)).status_code == 403


async def test_the_database_does_not_contain_tickets(
    ada: Session, shared_database: Database
) -> None:
    ticket = await ada.ticket()

    async with shared_database.transaction() as session:
        hashes = (await session.scalars(select(Ticket.hash))).all()
    assert digest(ticket) in hashes
    assert ticket not in hashes


async def test_the_log_does_not_contain_tickets(servers: list[AppServer], ada: Session) -> None:
    ticket, too_long = await ada.ticket(), secrets.token_urlsafe(300)

    for path in [*PATHS, "/ws/echo/x", "/ws/nothing"]:
        await present(servers[0], ticket, path)
    assert await present(servers[0], too_long) == 403
    await present(servers[1], ticket)
    async with httpx.AsyncClient(base_url=servers[0].url) as http:
        await http.get("/auth/me", params={"ticket": ticket})

    for server in servers:
        log = server.read_log()
        assert "/ws" in log
        assert ticket not in log
        assert too_long not in log


async def test_several_workers_of_one_server_accept_a_ticket_once(
    start_server: StartServer, broker_url: str
) -> None:
    # memory:// carries messages within one process only.
    workers = 1 if broker_url.startswith("memory:") else 2
    server = await start_server(BROKER_URL=broker_url, WEB_CONCURRENCY=workers)
    ada = await sign_in(server.url, "Ada")

    for _ in range(3):
        ticket = await ada.ticket()
        answers = await asyncio.gather(*(present(server, ticket) for _ in range(8)))
        assert sorted(answers) == [101] + [401] * 7


# --- The table ----------------------------------------------------------------------------


def test_the_migration_of_the_tickets_can_be_undone(new_project: Path) -> None:

    def alembic(*arguments: str) -> str:
        ended = run_module(new_project, "alembic", *arguments)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    alembic("upgrade", "heads")
    alembic("downgrade", "tickets@base")
    assert alembic("current").startswith("accounts_1 ")

    # The code of another style of authentication does not have this file.
    (new_project / "migrations" / "versions" / "tickets_0001.py").unlink()
    arguments = ("app.auth.accounts", "add-user", "Ada")
    ended = run_module(new_project, *arguments, stdin="eight is enough", **SETTINGS)
    assert ended.stdout == "Added Ada.\n", ended.stderr
