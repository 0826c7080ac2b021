"""How often a password can be guessed, with two workers on one database."""

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
from tests.engine.example_server import ExampleServer
from tests.support.auth.accounts import PASSWORD, log_in
from tests.support.server import AppServer

pytest_plugins = ["tests.engine.auth.accounts.database"]

Workers = Iterator[httpx.AsyncClient]
"""Clients of the two workers, in turn."""

WRONG = PASSWORD + "."
MOST = MAX_FAILURES["name and address"]


@pytest_asyncio.fixture(scope="module")
async def servers(
    shared_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[list[AppServer]]:
    settings = {"DATABASE_URL": shared_database_url, "FORWARDED_ALLOW_IPS": "127.0.0.1"}
    pair: list[AppServer] = [
        ExampleServer(tmp_path_factory.mktemp("throttle"), settings) for _ in range(2)
    ]
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
    """An address that no other test uses."""
    return "2001:db8:" + ":".join(secrets.token_hex(2) for _ in range(6))


async def attempt(
    workers: Workers, address: str, name: str, password: str = WRONG
) -> httpx.Response:
    """Try to log in. A proxy names the address of the client."""
    form = {"username": name, "password": password}
    headers = {"X-Forwarded-For": address}
    return await next(workers).post("/auth/login", data=form, headers=headers)


async def fail(workers: Workers, address: str, name: str, times: int) -> None:
    for _ in range(times):
        assert (await attempt(workers, address, name)).status_code == 401


async def leave_one(database: Database, kind: str, name: str, address: str) -> None:
    """Record so many failures of this kind that one more attempt is allowed."""
    subject, now = subjects_of(name, address)[kind], int(time.time())
    async with database.transaction() as session:
        session.add_all(FailedLogin(subject=subject, at=now) for _ in range(MAX_FAILURES[kind] - 1))


@pytest.mark.parametrize("name", ["Ada", "Nobody"])
async def test_after_ten_wrong_passwords_further_logins_are_refused(
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


async def test_names_that_differ_in_case_are_counted_together(
    workers: Workers, address: str, shared_database: Database
) -> None:
    await leave_one(shared_database, "name and address", "ada", address)
    await fail(workers, address, "ADA", 1)

    assert (await attempt(workers, address, "Ada", PASSWORD)).status_code == 429


async def test_a_user_under_attack_can_log_in_from_another_address(
    workers: Workers, address: str, shared_database: Database
) -> None:
    await leave_one(shared_database, "name and address", "Ada", address)
    await fail(workers, address, "Ada", 1)

    assert (await attempt(workers, address, "Ada", PASSWORD)).status_code == 429
    assert (await attempt(workers, "203.0.113.1", "Ada", PASSWORD)).status_code == 200


async def test_concurrent_attempts_do_not_exceed_the_limit(workers: Workers, address: str) -> None:
    answers = await asyncio.gather(*(attempt(workers, address, "Ada") for _ in range(3 * MOST)))

    assert MOST == 10
    codes = Counter(answer.status_code for answer in answers)
    assert codes == {401: MOST, 429: 2 * MOST}


async def test_successful_logins_are_not_counted(
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
async def test_a_login_without_the_form_fields_gets_an_error_and_is_not_counted(
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


async def test_an_empty_form_field_is_answered_like_a_wrong_one(
    workers: Workers, address: str
) -> None:
    assert (await attempt(workers, address, "", "")).status_code == 401
    assert (await attempt(workers, address, "Ada", "")).status_code == 401


async def test_failures_from_one_address_are_limited_across_all_names(
    workers: Workers, address: str, shared_database: Database
) -> None:
    neighbour = address.rpartition(":")[0] + ":1"  # one client has a whole /64
    await leave_one(shared_database, "address", "one", address)
    await fail(workers, address, "one", 1)

    assert (await attempt(workers, neighbour, "another")).status_code == 429
    assert (await attempt(workers, "203.0.113.2", "another")).status_code == 401


@pytest.mark.parametrize(
    ("address", "other", "is_one"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("2001:db8::1", "2001:db8:0:0:ffff::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
    ],
)
def test_what_counts_as_one_address(address: str, other: str, is_one: bool) -> None:
    subjects, others = subjects_of("Ada", address), subjects_of("Ada", other)
    assert subjects["name"] == others["name"]
    for kind in ("address", "name and address"):
        assert (subjects[kind] == others[kind]) is is_one


async def test_failures_with_one_name_are_limited_across_all_addresses(
    workers: Workers, address: str, shared_database: Database
) -> None:
    await leave_one(shared_database, "name", "shared", address)
    await fail(workers, address, "shared", 1)

    assert (await attempt(workers, "203.0.113.3", "shared")).status_code == 429
    assert (await attempt(workers, "203.0.113.3", "another")).status_code == 401


async def test_failures_are_deleted_after_a_quarter_of_an_hour(
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


async def test_attempts_with_an_impossible_name_are_counted(
    workers: Workers, address: str, shared_database: Database
) -> None:
    await leave_one(shared_database, "name and address", "", address)
    await fail(workers, address, "a\x00b", 1)

    for name in ["", "\ufffd\n", "x" * 1000]:
        assert (await attempt(workers, address, name)).status_code == 429


async def test_the_database_does_not_contain_what_was_typed(
    workers: Workers, address: str, shared_database: Database
) -> None:
    await fail(workers, address, "a password in the wrong field", 1)

    async with shared_database.transaction() as session:
        subjects = (await session.scalars(select(FailedLogin.subject))).all()
    assert subjects
    assert all(len(bytes.fromhex(subject)) == 32 for subject in subjects)
