"""Accounts: registration, logins, and how passwords are checked."""

import asyncio
import re
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

from app.auth.accounts.database import Database
from app.auth.accounts.errors import InvalidAccount
from app.auth.accounts.logins import AT_ONCE, Login, Logins, digest, id_of
from app.auth.accounts.store import Account, Accounts
from app.realtime.identity import User
from tests.engine.example_server import EXAMPLE, ExampleServer
from tests.support.auth import SETTINGS, sign_in
from tests.support.auth.accounts import PASSWORD
from tests.support.server import AppServer, StartServer, run_module

pytest_plugins = ["tests.engine.auth.accounts.database"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the server of these tests, with its database."""
    return tmp_path_factory.mktemp("accounts")


@pytest_asyncio.fixture(scope="module")
async def server(folder: Path) -> AsyncIterator[AppServer]:
    """One server for all of these tests, with the broker `memory://`."""
    async with ExampleServer(folder, {}).running() as server:
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


async def test_auth_me_answers_with_the_id_and_the_name_of_the_user(
    server: AppServer, http: httpx.AsyncClient
) -> None:
    registered = (await post(http, "/auth/register", "Ada Lovelace")).json()
    credentials = await sign_in(server.url, "Ada Lovelace")

    answer = await http.get("/auth/me", headers=credentials.headers)

    assert answer.json() == {"id": registered["id"], "username": "Ada Lovelace"}


async def test_auth_me_refuses_a_client_that_is_not_logged_in(http: httpx.AsyncClient) -> None:
    answer = await http.get("/auth/me")

    assert answer.status_code == 401
    assert answer.json() == {"detail": "Log in first."}


async def test_registration_answers_with_the_id_and_the_name(http: httpx.AsyncClient) -> None:
    answer = await post(http, "/auth/register", "Grace")

    assert answer.status_code == 201
    registered = answer.json()
    assert registered == {"id": registered["id"], "username": "Grace"}
    assert re.fullmatch("[0-9a-f]{16}", registered["id"])


@pytest.mark.parametrize("name", ["Zoë", "ZOË", "zoe\N{COMBINING DIAERESIS}"])
async def test_registration_refuses_a_name_that_looks_like_a_taken_one(
    http: httpx.AsyncClient, name: str
) -> None:
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
async def test_registration_refuses_a_bad_name_with_a_sentence(
    http: httpx.AsyncClient, name: str
) -> None:
    answer = await post(http, "/auth/register", name)

    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("A user name must ")


@pytest.mark.parametrize("password", ["", "seven..", "x" * 1025], ids=len)
async def test_registration_refuses_a_bad_password_with_a_sentence(
    http: httpx.AsyncClient, password: str
) -> None:
    answer = await post(http, "/auth/register", "Lin", password)

    assert answer.status_code == 422
    assert answer.json() == {"detail": "A password must have 8 to 1024 characters."}


@pytest.mark.parametrize(
    "body", [{"json": {"username": "Lin", "password": PASSWORD}}, {"data": {"username": "Lin"}}, {}]
)
async def test_registration_without_the_form_fields_gets_an_error_that_names_them(
    http: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    answer = await http.post("/auth/register", **body)

    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("Send the form fields username and password")


@pytest.mark.parametrize("path", ["/auth/login", "/auth/register"])
async def test_the_openapi_document_requires_both_form_fields(
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


async def test_a_user_can_log_in_with_the_name_in_another_case(http: httpx.AsyncClient) -> None:
    await post(http, "/auth/register", "Katherine")

    answer = await post(http, "/auth/login", "KATHERINE")

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_page_of_another_origin_cannot_log_its_visitors_in(http: httpx.AsyncClient) -> None:
    await post(http, "/auth/register", "Mallory")
    form = {"username": "Mallory", "password": PASSWORD}

    answer = await http.post("/auth/login", data=form, headers={"Origin": "https://evil.example"})

    assert answer.status_code == 403


async def test_production_refuses_registrations_by_default(start_server: StartServer) -> None:
    server = await start_server(ENVIRONMENT="production", **SETTINGS)
    async with httpx.AsyncClient(base_url=server.url) as http:
        answer = await post(http, "/auth/register", "Eve")

    assert (answer.status_code, answer.json()) == (403, {"detail": "Registration is closed."})


async def test_the_log_does_not_contain_passwords(
    server: AppServer, http: httpx.AsyncClient
) -> None:
    await post(http, "/auth/register", "Rosa")
    await post(http, "/auth/login", "Rosa")
    await post(http, "/auth/login", "Rosa", PASSWORD + ".")

    log = server.read_log()
    assert "/auth/login" in log
    assert PASSWORD not in log.replace("+", " ").replace("%20", " ")


# --- The store ----------------------------------------------------------------


async def test_passwords_are_stored_as_argon2_hashes(ada: Account) -> None:
    assert ada.password_hash.startswith("$argon2id$")


async def test_one_of_two_concurrent_registrations_of_a_name_succeeds(accounts: Accounts) -> None:
    results = await asyncio.gather(
        accounts.add("Ada", PASSWORD), accounts.add("ada", PASSWORD), return_exceptions=True
    )

    assert sorted(type(result).__name__ for result in results) == ["Account", "NameTaken"]


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


async def test_a_password_matches_however_a_keyboard_encodes_it(accounts: Accounts) -> None:
    await accounts.add("Ada", "caf\N{LATIN SMALL LETTER E WITH ACUTE} noir")

    assert await accounts.verify("Ada", "cafe\N{COMBINING ACUTE ACCENT} noir")


async def test_names_and_passwords_that_take_long_to_normalize_are_refused(
    accounts: Accounts,
) -> None:
    # Normalizing sorts them: 100 000 of one, then of the other. That takes 10 seconds.
    long = "\N{COMBINING ACUTE ACCENT}\N{COMBINING GRAVE ACCENT BELOW}" * 100_000
    start = time.perf_counter()

    assert await accounts.verify(long, long) is None
    for name, password in [(long, PASSWORD), ("Ada", long)]:
        with pytest.raises(InvalidAccount):
            await accounts.add(name, password)

    assert time.perf_counter() - start < 5


# --- Logins -------------------------------------------------------------------


async def test_a_login_is_valid_until_it_is_deleted(logins: Logins, ada: Account) -> None:
    token, other = await logins.start(ada, 60), await logins.start(ada, 60)

    found = await logins.find(token)
    assert found is not None
    assert (found.id, found.name, found.login) == (ada.id, "Ada", id_of(token))
    assert await logins.user(found.login) == User(ada.id, "Ada")

    assert await logins.delete(found.login)
    assert not await logins.delete(found.login)
    assert await logins.find(token) is None
    assert await logins.user(found.login) is None
    assert await logins.find(other)


async def test_an_expired_login_is_invalid_and_the_next_login_deletes_it(
    logins: Logins, ada: Account, database: Database
) -> None:
    token = await logins.start(ada, 60)
    async with database.transaction() as session:
        await session.execute(update(Login).values(expires_at=Login.expires_at - 60))

    assert await logins.find(token) is None
    assert await logins.user(id_of(token)) is None
    assert await logins.renew(token, 60) is None

    await logins.start(ada, 60)
    async with database.transaction() as session:
        assert id_of(token) not in (await session.scalars(select(Login.id))).all()


async def test_deleting_an_account_deletes_its_logins(
    logins: Logins, ada: Account, database: Database
) -> None:
    token = await logins.start(ada, 60)
    async with database.transaction() as session:
        await session.execute(delete(Account))

    assert await logins.find(token) is None
    async with database.transaction() as session:
        assert (await session.scalars(select(Login))).all() == []


async def test_one_of_eight_concurrent_renewals_of_a_login_succeeds(
    logins: Logins, ada: Account
) -> None:
    token = await logins.start(ada, 1)

    results = await asyncio.gather(*(logins.renew(token, 60) for _ in range(8)))

    ((user, new_token),) = (result for result in results if result)
    assert await logins.find(token) is None
    assert await logins.find(new_token) == user
    assert user.login == id_of(token)


@pytest.mark.parametrize("token", ["", ".", "x", "x.y", "\x00.\x00", "\ud800.", "é.", "x" * 9999])
async def test_a_made_up_token_belongs_to_no_login(
    logins: Logins, ada: Account, token: str
) -> None:
    secret = (await logins.start(ada, 60)).partition(".")[2]
    for presented in [token, f"{token}.{secret}"]:
        assert await logins.find(presented) is None
        assert await logins.renew(presented, 60) is None
        assert not await logins.delete(id_of(presented))


async def test_the_id_of_a_login_is_no_token(logins: Logins, ada: Account) -> None:
    token = await logins.start(ada, 60)
    login = id_of(token)
    assert login not in token
    for presented in (login, f"{login}.", f"{login}.{token.partition('.')[2]}"):
        assert await logins.find(presented) is None
        assert await logins.renew(presented, 60) is None
        assert id_of(presented) != login
    assert await logins.find(token)


async def test_remaining_returns_the_logins_that_have_not_ended(
    logins: Logins, ada: Account
) -> None:
    ended, *remain = [id_of(await logins.start(ada, 60)) for _ in range(3)]
    await logins.delete(ended)

    asked = [ended, remain[0], *map(str, range(AT_ONCE)), remain[1]]

    assert await logins.remaining(asked) == set(remain)


async def test_the_database_does_not_contain_the_secret_of_a_login(
    logins: Logins, ada: Account, database: Database
) -> None:
    token = await logins.start(ada, 60)

    async with database.transaction() as session:
        (stored,) = (await session.scalars(select(Login))).all()
    assert stored.secret_hash == digest(token)
    series, _, secret = token.partition(".")
    for part in (series, secret):
        assert part not in f"{stored.id} {stored.secret_hash}"


# --- The settings -------------------------------------------------------------


def test_production_does_not_start_without_a_secret_key(tmp_path: Path) -> None:
    ended = run_module(tmp_path, *EXAMPLE, ENVIRONMENT="production")
    assert ended.returncode == 1
    assert "SECRET_KEYS must be set in production" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
