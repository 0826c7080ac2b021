"""Accounts: who gets one, who may log in, and what a password costs to check."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import delete, select, update

from app.auth.accounts.store import HASHES_AT_ONCE, Account, Accounts, InvalidAccount
from app.auth.accounts.database import Database
from app.auth.accounts.logins import AT_ONCE, Login, Logins, digest, id_of
from tests.support.auth import SETTINGS, sign_in
from tests.support.server import StartServer
from tests.support.server import AppServer, run_module

pytest_plugins = ["tests.engine.auth.accounts.database"]

PASSWORD = "eight is enough"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server of these tests runs, and has its database."""
    return tmp_path_factory.mktemp("accounts")


@pytest_asyncio.fixture(scope="module")
async def server(folder: Path) -> AsyncIterator[AppServer]:
    """One server for all of these tests: they need no broker."""
    async with AppServer(folder, {}).running() as server:
        yield server


@pytest_asyncio.fixture
async def http(server: AppServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url) as http:
        yield http


@pytest_asyncio.fixture
async def accounts(database: Database) -> Accounts:
    return Accounts(database)


@pytest_asyncio.fixture
async def ada(accounts: Accounts) -> Account:
    return await accounts.add("Ada", PASSWORD)


@pytest.fixture
def logins(database: Database) -> Logins:
    return Logins(database)


async def post(
    http: httpx.AsyncClient, path: str, name: str, password: str = PASSWORD
) -> httpx.Response:
    return await http.post(path, data={"username": name, "password": password})


# --- Over HTTP ----------------------------------------------------------------


async def test_who_registers_and_logs_in_is_known_by_name(
    server: AppServer, http: httpx.AsyncClient
) -> None:
    credentials = await sign_in(server.url, "Ada Lovelace")

    answer = await http.get("/auth/me", headers=credentials.headers)

    assert answer.json() == {"username": "Ada Lovelace"}


async def test_who_is_not_logged_in_is_nobody(http: httpx.AsyncClient) -> None:
    answer = await http.get("/auth/me")

    assert answer.status_code == 401
    assert answer.json() == {"detail": "Log in first."}


async def test_registration_answers_with_the_name(http: httpx.AsyncClient) -> None:
    answer = await post(http, "/auth/register", "Grace")

    assert (answer.status_code, answer.json()) == (201, {"username": "Grace"})
    assert PASSWORD not in answer.text


@pytest.mark.parametrize("name", ["Zoë", "ZOË", "zoe\N{COMBINING DIAERESIS}"])
async def test_a_name_that_looks_like_anothers_is_taken(http: httpx.AsyncClient, name: str) -> None:
    await post(http, "/auth/register", "Zoë")

    answer = await post(http, "/auth/register", name)

    assert (answer.status_code, answer.json()) == (409, {"detail": "This user name is taken."})


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 65,
        " ada",
        "ada\N{NO-BREAK SPACE}",
        "a\x00da",
        "a\nda",
        "a\N{RIGHT-TO-LEFT OVERRIDE}da",
        "a\N{ZERO WIDTH JOINER}da",
        "ada\N{VARIATION SELECTOR-16}",
        "ada\N{HANGUL FILLER}",
    ],
    ids=ascii,
)
async def test_a_bad_name_is_refused_with_a_sentence(http: httpx.AsyncClient, name: str) -> None:
    answer = await post(http, "/auth/register", name)

    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("A user name must ")


@pytest.mark.parametrize("password", ["", "seven..", "x" * 1025], ids=len)
async def test_a_bad_password_is_refused_with_a_sentence(
    http: httpx.AsyncClient, password: str
) -> None:
    answer = await post(http, "/auth/register", "Lin", password)

    assert answer.status_code == 422
    assert answer.json() == {"detail": "A password must have 8 to 1024 characters."}


@pytest.mark.parametrize(
    "body", [{"json": {"username": "Lin", "password": PASSWORD}}, {"data": {"username": "Lin"}}, {}]
)
async def test_a_registration_that_is_no_form_is_told_which_fields_to_send(
    http: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    answer = await http.post("/auth/register", **body)

    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("Send the form fields username and password")


@pytest.mark.parametrize("path", ["/auth/login", "/auth/register"])
async def test_the_openapi_document_asks_for_both_fields(
    http: httpx.AsyncClient, path: str
) -> None:
    document = (await http.get("/openapi.json")).json()

    body = document["paths"][path]["post"]["requestBody"]
    form = {"schema": {"$ref": "#/components/schemas/Credentials"}}
    assert body == {"content": {"application/x-www-form-urlencoded": form}, "required": True}
    assert document["components"]["schemas"]["Credentials"]["required"] == ["username", "password"]


async def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(
    http: httpx.AsyncClient,
) -> None:
    await post(http, "/auth/register", "Mary")

    wrong = await post(http, "/auth/login", "Mary", PASSWORD + ".")
    unknown = await post(http, "/auth/login", "Nobody")
    impossible = await post(http, "/auth/login", "a\x00b", "")

    assert wrong.status_code == unknown.status_code == impossible.status_code == 401
    assert wrong.json() == unknown.json() == impossible.json()
    assert wrong.json() == {"detail": "The user name or the password is wrong."}


async def test_who_logs_in_may_write_their_name_in_another_case(http: httpx.AsyncClient) -> None:
    await post(http, "/auth/register", "Katherine")

    answer = await post(http, "/auth/login", "KATHERINE")

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_foreign_page_cannot_log_its_visitors_in(http: httpx.AsyncClient) -> None:
    await post(http, "/auth/register", "Mallory")
    form = {"username": "Mallory", "password": PASSWORD}

    answer = await http.post("/auth/login", data=form, headers={"Origin": "https://evil.example"})

    assert answer.status_code == 403


async def test_production_registers_nobody_unless_told_to(start_server: StartServer) -> None:
    server = await start_server(ENVIRONMENT="production", **SETTINGS)
    async with httpx.AsyncClient(base_url=server.url) as http:
        answer = await post(http, "/auth/register", "Eve")

    assert (answer.status_code, answer.json()) == (403, {"detail": "Registration is closed."})


async def test_passwords_stay_out_of_the_log(server: AppServer, http: httpx.AsyncClient) -> None:
    await post(http, "/auth/register", "Rosa")
    await post(http, "/auth/login", "Rosa")
    await post(http, "/auth/login", "Rosa", PASSWORD + ".")

    log = server.read_log()
    assert "/auth/login" in log
    assert PASSWORD not in log.replace("+", " ").replace("%20", " ")


# --- The store ----------------------------------------------------------------


async def test_passwords_are_kept_as_argon2_hashes(ada: Account) -> None:
    assert ada.password_hash.startswith("$argon2id$")


async def test_of_two_who_want_a_name_at_once_one_gets_it(accounts: Accounts) -> None:
    results = await asyncio.gather(
        accounts.add("Ada", PASSWORD), accounts.add("ada", PASSWORD), return_exceptions=True
    )

    assert sorted(type(result).__name__ for result in results) == ["Account", "NameTaken"]


async def test_hashing_leaves_the_event_loop_alone_and_is_bounded(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = 0
    threads = set()
    lock = threading.Lock()
    too_many = threading.Event()

    def hash_slowly(*_: object) -> tuple[bool, str | None]:
        nonlocal running
        with lock:
            running += 1
            threads.add(threading.get_ident())
            if running > HASHES_AT_ONCE:
                too_many.set()
        too_many.wait(0.2)
        with lock:
            running -= 1
        return False, None

    monkeypatch.setattr(PasswordHash, "verify_and_update", hash_slowly)
    await asyncio.gather(*(accounts.verify("Ada", PASSWORD) for _ in range(2 * HASHES_AT_ONCE)))

    assert not too_many.is_set()
    assert threading.get_ident() not in threads


async def test_an_unknown_name_costs_as_many_hashes_as_a_known_one(
    accounts: Accounts, ada: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = []
    verify = PasswordHash.verify_and_update

    def count(self: PasswordHash, password: bytes, hash: str) -> tuple[bool, str | None]:  # noqa: A002
        parameters.append(hash.split("$")[:4])
        return verify(self, password, hash)

    monkeypatch.setattr(PasswordHash, "verify_and_update", count)
    for name in [ada.name, "Nobody", "a\x00b"]:
        assert await accounts.verify(name, "wrong password") is None

    assert parameters[0] == parameters[1] == parameters[2]
    assert len(parameters) == 3


async def test_a_hash_with_outdated_parameters_is_replaced_at_login(
    accounts: Accounts, ada: Account, database: Database
) -> None:
    outdated = Argon2Hasher(time_cost=2, memory_cost=8, parallelism=1).hash(PASSWORD)
    async with database.transaction() as session:
        await session.execute(update(Account).values(password_hash=outdated))

    assert await accounts.verify("Ada", PASSWORD)

    async with database.transaction() as session:
        replaced = await session.scalar(select(Account.password_hash))
    assert replaced is not None
    assert replaced.split("$")[:4] == ada.password_hash.split("$")[:4]
    assert await accounts.verify("Ada", PASSWORD)


async def test_a_password_is_the_same_from_every_keyboard(accounts: Accounts) -> None:
    await accounts.add("Ada", "caf\N{LATIN SMALL LETTER E WITH ACUTE} noir")

    assert await accounts.verify("Ada", "cafe\N{COMBINING ACUTE ACCENT} noir")


async def test_what_takes_long_to_normalize_is_no_name_and_no_password(
    accounts: Accounts,
) -> None:
    # In order they are 100 000 of one and then of the other: that takes 10 seconds.
    long = "\N{COMBINING ACUTE ACCENT}\N{COMBINING GRAVE ACCENT BELOW}" * 100_000
    start = time.perf_counter()

    assert await accounts.verify(long, long) is None
    for name, password in [(long, PASSWORD), ("Ada", long)]:
        with pytest.raises(InvalidAccount):
            await accounts.add(name, password)

    assert time.perf_counter() - start < 5


# --- Logins -------------------------------------------------------------------


async def test_a_login_lasts_until_it_ends(logins: Logins, ada: Account) -> None:
    token, other = await logins.start(ada, 60), await logins.start(ada, 60)

    found = await logins.find(token)
    assert found is not None
    assert (found.name, found.login) == ("Ada", id_of(token))
    assert await logins.name(found.login) == "Ada"

    assert await logins.delete(found.login)
    assert not await logins.delete(found.login)
    assert await logins.find(token) is None
    assert await logins.name(found.login) is None
    assert await logins.find(other)


async def test_a_login_expires_and_the_next_one_clears_it_away(
    logins: Logins, ada: Account, database: Database
) -> None:
    token = await logins.start(ada, 60)
    async with database.transaction() as session:
        await session.execute(update(Login).values(expires_at=Login.expires_at - 60))

    assert await logins.find(token) is None
    assert await logins.name(id_of(token)) is None
    assert await logins.renew(token, 60) is None

    await logins.start(ada, 60)
    async with database.transaction() as session:
        assert id_of(token) not in (await session.scalars(select(Login.id))).all()


async def test_logins_end_with_their_account(
    logins: Logins, ada: Account, database: Database
) -> None:
    token = await logins.start(ada, 60)
    async with database.transaction() as session:
        await session.execute(delete(Account))

    assert await logins.find(token) is None
    async with database.transaction() as session:
        assert (await session.scalars(select(Login))).all() == []


async def test_of_eight_who_renew_a_login_at_once_one_does(logins: Logins, ada: Account) -> None:
    token = await logins.start(ada, 1)

    results = await asyncio.gather(*(logins.renew(token, 60) for _ in range(8)))

    ((user, new_token),) = (result for result in results if result)
    assert await logins.find(token) is None
    assert await logins.find(new_token) == user
    assert user.login == id_of(token)


@pytest.mark.parametrize("token", ["", ".", "x", "x.y", "\x00.\x00", "\ud800.", "é.", "x" * 9999])
async def test_what_nobody_issued_is_no_login(logins: Logins, ada: Account, token: str) -> None:
    secret = (await logins.start(ada, 60)).partition(".")[2]
    for presented in [token, f"{token}.{secret}"]:
        assert await logins.find(presented) is None
        assert await logins.renew(presented, 60) is None
        assert not await logins.delete(id_of(presented))


async def test_it_is_known_which_of_many_logins_remain(logins: Logins, ada: Account) -> None:
    ended, *remain = [id_of(await logins.start(ada, 60)) for _ in range(3)]
    await logins.delete(ended)

    asked = [ended, remain[0], *map(str, range(AT_ONCE)), remain[1]]

    assert await logins.remaining(asked) == set(remain)


async def test_the_database_does_not_hold_what_opens_a_login(
    logins: Logins, ada: Account, database: Database
) -> None:
    token = await logins.start(ada, 60)

    async with database.transaction() as session:
        (kept,) = (await session.scalars(select(Login))).all()
    assert kept.secret_hash == digest(token)
    assert token.partition(".")[2] not in f"{kept.id} {kept.secret_hash}"


# --- The settings -------------------------------------------------------------


def test_production_does_not_start_without_a_secret_key(tmp_path: Path) -> None:
    ended = run_module(tmp_path, "app", ENVIRONMENT="production")
    assert ended.returncode == 1
    assert "SECRET_KEYS must be set in production" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
