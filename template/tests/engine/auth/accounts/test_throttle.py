"""How often a password may be guessed, with two workers on one database."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from itertools import cycle
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select, update

from app.auth.accounts.database import Database
from app.auth.accounts.throttle import MAX_FAILURES, WINDOW_SECONDS, FailedLogin, subjects_of
from tests.support.auth.accounts import PASSWORD, log_in
from tests.support.server import AppServer

pytest_plugins = ["tests.engine.auth.accounts.database"]

Workers = Iterator[httpx.AsyncClient]
"""Clients of the two, in turn."""

WRONG = PASSWORD + "."
MOST = MAX_FAILURES["name and address"]


@pytest_asyncio.fixture(scope="module")
async def servers(
    shared_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[list[AppServer]]:
    settings = {"DATABASE_URL": shared_database_url, "FORWARDED_ALLOW_IPS": "127.0.0.1"}
    pair = [AppServer(tmp_path_factory.mktemp("throttle"), settings) for _ in range(2)]
    async with AsyncExitStack() as stack:
        for server in pair:
            stack.push_async_callback(server.stop)
        await asyncio.gather(*(server.start() for server in pair))
        await log_in(pair[0].url, "Ada")
        yield pair
    for server in pair:
        assert "Traceback" not in server.read_log()


@pytest_asyncio.fixture
async def workers(servers: list[AppServer]) -> AsyncIterator[Workers]:
    async with AsyncExitStack() as stack:
        clients = [httpx.AsyncClient(base_url=server.url, timeout=20) for server in servers]
        for client in clients:
            await stack.enter_async_context(client)
        yield cycle(clients)


@pytest.fixture
def address() -> str:
    """Where nobody was seen before."""
    return "2001:db8:" + ":".join(secrets.token_hex(2) for _ in range(6))


async def attempt(
    workers: Workers, address: str, name: str, password: str = WRONG
) -> httpx.Response:
    """Try to log in, from an address that a proxy has seen."""
    form = {"username": name, "password": password}
    headers = {"X-Forwarded-For": address}
    return await next(workers).post("/auth/login", data=form, headers=headers)


async def fail(workers: Workers, address: str, name: str, times: int) -> None:
    for _ in range(times):
        assert (await attempt(workers, address, name)).status_code == 401


async def leave_one(database: Database, kind: str, name: str, address: str) -> None:
    """Note so many failures of this kind that one more is possible."""
    subject, now = subjects_of(name, address)[kind], int(time.time())
    async with database.transaction() as session:
        session.add_all(FailedLogin(subject=subject, at=now) for _ in range(MAX_FAILURES[kind] - 1))


@pytest.mark.parametrize("name", ["Ada", "Nobody"])
async def test_after_ten_wrong_passwords_a_name_has_to_wait(
    workers: Workers, address: str, shared_database: Database, name: str
) -> None:
    await leave_one(shared_database, "name and address", name, address)
    await fail(workers, address, name, 1)

    for password in [WRONG, PASSWORD]:
        refused = await attempt(workers, address, name, password)
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == str(WINDOW_SECONDS)
        assert refused.json() == {
            "detail": "Too many wrong passwords: try again in a quarter of an hour."
        }


async def test_it_is_one_name_however_it_is_written(
    workers: Workers, address: str, shared_database: Database
) -> None:
    await leave_one(shared_database, "name and address", "ada", address)
    await fail(workers, address, "ADA", 1)

    assert (await attempt(workers, address, "Ada", PASSWORD)).status_code == 429


async def test_who_is_attacked_can_log_in_from_elsewhere(
    workers: Workers, address: str, shared_database: Database
) -> None:
    await leave_one(shared_database, "name and address", "Ada", address)
    await fail(workers, address, "Ada", 1)

    assert (await attempt(workers, address, "Ada", PASSWORD)).status_code == 429
    assert (await attempt(workers, "203.0.113.1", "Ada", PASSWORD)).status_code == 200


async def test_attempts_at_once_do_not_slip_through(workers: Workers, address: str) -> None:
    answers = await asyncio.gather(*(attempt(workers, address, "Ada") for _ in range(3 * MOST)))

    assert MOST == 10
    codes = Counter(answer.status_code for answer in answers)
    assert codes == {401: MOST, 429: 2 * MOST}


async def test_the_right_password_is_not_counted(
    workers: Workers, address: str, shared_database: Database
) -> None:
    await leave_one(shared_database, "name and address", "Ada", address)
    for _ in range(3):
        assert (await attempt(workers, address, "Ada", PASSWORD)).status_code == 200

    assert (await attempt(workers, address, "Ada")).status_code == 401
    assert (await attempt(workers, address, "Ada")).status_code == 429


@pytest.mark.parametrize(
    "body",
    [
        {"json": {"username": "Ada", "password": PASSWORD}},
        {"data": {"username": "Ada"}},
        {"data": {"password": PASSWORD}},
        {"data": {"user": "Ada", "pass": PASSWORD}},
        {"content": b""},
    ],
    ids=str,
)
async def test_what_is_no_form_of_a_login_is_told_so_and_not_counted(
    workers: Workers, address: str, shared_database: Database, body: dict[str, Any]
) -> None:
    for name in ("", "Ada"):
        await leave_one(shared_database, "name and address", name, address)

    for _ in range(3):
        headers = {"X-Forwarded-For": address}
        answer = await next(workers).post("/auth/login", headers=headers, **body)
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("Send the form fields username and password")

    for name in ("", "Ada"):
        await fail(workers, address, name, 1)


async def test_an_empty_field_is_a_wrong_name_or_password(workers: Workers, address: str) -> None:
    assert (await attempt(workers, address, "", "")).status_code == 401
    assert (await attempt(workers, address, "Ada", "")).status_code == 401


async def test_an_address_may_fail_with_so_many_names(
    workers: Workers, address: str, shared_database: Database
) -> None:
    neighbour = address.rpartition(":")[0] + ":1"  # who has an IPv6 address has 2**64
    await leave_one(shared_database, "address", "one", address)
    await fail(workers, address, "one", 1)

    assert (await attempt(workers, neighbour, "another")).status_code == 429
    assert (await attempt(workers, "203.0.113.2", "another")).status_code == 401


async def test_a_name_may_fail_from_so_many_addresses(
    workers: Workers, address: str, shared_database: Database
) -> None:
    await leave_one(shared_database, "name", "everybodys", address)
    await fail(workers, address, "everybodys", 1)

    assert (await attempt(workers, "203.0.113.3", "everybodys")).status_code == 429
    assert (await attempt(workers, "203.0.113.3", "mine")).status_code == 401


async def test_a_quarter_of_an_hour_later_it_is_forgotten(
    workers: Workers, address: str, shared_database: Database
) -> None:
    await leave_one(shared_database, "name and address", "Ada", address)
    await fail(workers, address, "Ada", 1)
    subject = subjects_of("Ada", address)["name and address"]
    async with shared_database.transaction() as session:
        await session.execute(update(FailedLogin).values(at=FailedLogin.at - WINDOW_SECONDS))

    assert (await attempt(workers, address, "Ada", PASSWORD)).status_code == 200

    async with shared_database.transaction() as session:
        left = await session.scalars(select(FailedLogin).where(FailedLogin.subject == subject))
        assert left.all() == []


async def test_what_can_be_no_name_is_an_attempt_too(
    workers: Workers, address: str, shared_database: Database
) -> None:
    await leave_one(shared_database, "name and address", "", address)
    await fail(workers, address, "a\x00b", 1)

    for name in ["", "\ufffd\n", "x" * 1000]:
        assert (await attempt(workers, address, name)).status_code == 429


async def test_the_database_does_not_hold_what_was_typed(
    workers: Workers, address: str, shared_database: Database
) -> None:
    await fail(workers, address, "a password in the wrong field", 1)

    async with shared_database.transaction() as session:
        subjects = (await session.scalars(select(FailedLogin.subject))).all()
    assert subjects
    assert all(len(bytes.fromhex(subject)) == 32 for subject in subjects)
