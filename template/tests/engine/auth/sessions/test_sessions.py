"""The session cookie: its attributes, which cookies are valid, and how a session ends."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from itsdangerous import Signer

from app.auth.accounts.database import open_database
from app.auth.accounts.logins import Logins, id_of
from app.auth.sessions import SESSION_SECONDS
from tests.engine.example_server import ExampleServer
from tests.support.auth import sign_in
from tests.support.auth.accounts import OTHER_KEY, PASSWORD, SECRET_KEY, log_in
from tests.support.auth.sessions import session_cookie
from tests.support.client import PATIENCE, open_client
from tests.support.server import AppServer, StartServer

COOKIE = "session"


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('database') / 'app.db'}"


@pytest_asyncio.fixture(scope="module")
async def server(
    database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AppServer]:
    """One server for all of these tests, with the broker `memory://`."""
    settings = {"DATABASE_URL": database_url}
    async with ExampleServer(tmp_path_factory.mktemp("server"), settings).running() as server:
        yield server


@pytest_asyncio.fixture(scope="module")
async def cookie(server: AppServer) -> str:
    """The cookie of a logged-in user. No test ends this session."""
    return (await log_in(server.url, "Ada")).cookies[COOKIE]


async def name_of(server: AppServer, cookie: str) -> str | None:
    """The name of the user who is logged in with a cookie."""
    async with httpx.AsyncClient(base_url=server.url) as http:
        answer = await http.get("/auth/me", headers={b"Cookie": f"{COOKIE}={cookie}".encode()})
    assert answer.status_code in {200, 401}
    name: str | None = answer.json().get("username")
    return name


def token_of(cookie: str) -> str:
    """The token that a signed cookie holds."""
    return cookie.rpartition(".")[0]


def sign(token: str, key: str) -> str:
    signer = Signer(key, salt="session", key_derivation="hmac", digest_method=hashlib.sha256)
    return signer.sign(token).decode()


# --- The cookie ---------------------------------------------------------------------


async def test_the_cookie_is_hidden_from_scripts_and_from_pages_of_other_origins(
    server: AppServer,
) -> None:
    answer = await log_in(server.url, "Ada")

    _, *attributes = answer.headers["Set-Cookie"].split("; ")
    assert set(attributes) == {"HttpOnly", "Path=/", "SameSite=lax", f"Max-Age={SESSION_SECONDS}"}
    assert answer.headers["Cache-Control"] == "no-store"
    async with httpx.AsyncClient(base_url=server.url, cookies=answer.cookies) as http:
        me = (await http.get("/auth/me")).json()
    assert answer.json() == me == {"id": me["id"], "username": "Ada"}


async def test_in_production_the_cookie_is_bound_to_the_host_and_to_https(
    start_server: StartServer, database_url: str
) -> None:
    production = await start_server(
        ENVIRONMENT="production", REGISTRATION_OPEN="true", DATABASE_URL=database_url
    )

    answer = await log_in(production.url, "Ada")

    name, *attributes = answer.headers["Set-Cookie"].split("; ")
    assert name.startswith("__Host-session=")
    # What the prefix asks for: Secure, the path /, and no Domain (RFC 6265bis).
    assert set(attributes) == {
        *("HttpOnly", "Path=/", "SameSite=lax", "Secure"),
        f"Max-Age={SESSION_SECONDS}",
    }
    async with httpx.AsyncClient(base_url=production.url) as http:
        value = answer.cookies["__Host-session"]
        for cookie, status in [("__Host-session", 200), ("session", 401), ("__Host-session", 200)]:
            headers = {"Cookie": f"{cookie}={value}"}
            assert (await http.get("/auth/me", headers=headers)).status_code == status
        planted = {"Cookie": f"session=x.y; {session_cookie(answer)}"}  # by another subdomain
        left = await http.post("/auth/logout", headers=planted)
        removed, *attributes = left.headers["Set-Cookie"].split("; ")
        assert removed == '__Host-session=""'
        assert {"Max-Age=0", "Path=/", "Secure"} <= set(attributes)
        assert (await http.get("/auth/me", headers=planted)).status_code == 401


async def test_each_login_starts_a_new_session(server: AppServer, cookie: str) -> None:
    assert (await log_in(server.url, "Ada")).cookies[COOKIE] != cookie
    assert await name_of(server, cookie) == "Ada"


async def test_the_openapi_document_names_the_cookie(server: AppServer) -> None:
    async with httpx.AsyncClient(base_url=server.url) as http:
        document = (await http.get("/openapi.json")).json()

    scheme = document["components"]["securitySchemes"]["APIKeyCookie"]
    description = "In production, it is __Host-session."
    assert scheme == {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": description}


# --- Which cookies are valid ----------------------------------------------------------


@pytest.mark.parametrize("value", ["", "x", "x.y", ".", "a" * 4000, "\xff.\xff"], ids=ascii)
async def test_a_made_up_cookie_is_refused(server: AppServer, value: str) -> None:
    assert await name_of(server, value) is None


async def test_a_changed_or_wrongly_signed_cookie_is_refused(
    server: AppServer, cookie: str
) -> None:
    token = token_of(cookie)
    other_letter = "A" if cookie[-3] != "A" else "B"

    assert await name_of(server, cookie[:-3] + other_letter + cookie[-2:]) is None
    assert await name_of(server, token) is None
    assert await name_of(server, sign(token, OTHER_KEY)) is None
    assert await name_of(server, sign(token, SECRET_KEY)) == "Ada"


async def test_the_id_of_a_login_is_no_cookie(
    server: AppServer, database_url: str, cookie: str
) -> None:
    login = id_of(token_of(cookie))
    async with open_database(database_url) as database:
        assert await Logins(database).user(login)

    for value in (login, f"{login}.", f"{login}.{token_of(cookie).partition('.')[2]}"):
        assert await name_of(server, value) is None
        assert await name_of(server, sign(value, SECRET_KEY)) is None
        headers = {"Cookie": f"{COOKIE}={sign(value, SECRET_KEY)}"}
        async with httpx.AsyncClient(base_url=server.url, headers=headers) as http:
            assert (await http.post("/auth/logout")).status_code == 204

    assert await name_of(server, cookie) == "Ada"


@pytest.mark.parametrize("token", ["made-up", "made.up", ""])
async def test_a_signed_cookie_without_a_session_is_refused(server: AppServer, token: str) -> None:
    assert await name_of(server, sign(token, SECRET_KEY)) is None


async def test_the_first_key_signs_and_all_keys_are_accepted(
    start_server: StartServer, server: AppServer, database_url: str, cookie: str
) -> None:
    rotated = await start_server(SECRET_KEYS=f"{OTHER_KEY},{SECRET_KEY}", DATABASE_URL=database_url)
    after = (await log_in(rotated.url, "Ada")).cookies[COOKIE]

    assert after == sign(token_of(after), OTHER_KEY)
    assert await name_of(rotated, cookie) == "Ada"
    assert await name_of(rotated, after) == "Ada"
    assert await name_of(server, after) is None


async def test_a_cookie_signed_with_a_removed_key_is_refused(
    start_server: StartServer, database_url: str, cookie: str
) -> None:
    rotated = await start_server(SECRET_KEYS=OTHER_KEY, DATABASE_URL=database_url)

    assert await name_of(rotated, cookie) is None


# --- How a session ends -----------------------------------------------------------------


async def test_logging_out_ends_the_session_and_no_other(server: AppServer, cookie: str) -> None:
    on_another_device = (await log_in(server.url, "Ada")).cookies[COOKIE]

    async with httpx.AsyncClient(base_url=server.url) as http:
        headers = {"Cookie": f"{COOKIE}={on_another_device}"}
        answer = await http.post("/auth/logout", headers=headers)

    assert answer.status_code == 204
    name, *attributes = answer.headers["Set-Cookie"].split("; ")
    assert name == f'{COOKIE}=""'
    assert {"Max-Age=0", "Path=/", "HttpOnly"} <= set(attributes)
    assert await name_of(server, on_another_device) is None
    assert await name_of(server, cookie) == "Ada"


async def test_logging_in_ends_the_session_of_the_cookie_in_the_request(
    server: AppServer, cookie: str
) -> None:
    before = await sign_in(server.url, "Hedy")
    async with (
        open_client(server.ws_url, before) as client,
        httpx.AsyncClient(base_url=server.url, headers=before.headers) as http,
    ):
        await client.expect("welcome")
        form = {"username": "Hedy", "password": PASSWORD}

        await http.post("/auth/login", data={**form, "password": "wrong"})
        assert (await http.get("/auth/me")).status_code == 200

        answer = await http.post("/auth/login", data=form)
        async with asyncio.timeout(PATIENCE):
            await client.socket.wait_closed()
        assert client.socket.close_code == 4401
        assert (await http.get("/auth/me", headers=before.headers)).status_code == 401

    assert await name_of(server, answer.cookies[COOKIE]) == "Hedy"
    assert await name_of(server, cookie) == "Ada"


@pytest.mark.parametrize("headers", [{}, {"Cookie": f"{COOKIE}=x.y"}], ids=str)
async def test_logging_out_without_a_session_succeeds(
    server: AppServer, headers: dict[str, str]
) -> None:
    async with httpx.AsyncClient(base_url=server.url) as http:
        assert (await http.post("/auth/logout", headers=headers)).status_code == 204


async def test_a_page_of_another_origin_cannot_log_its_visitors_out(
    server: AppServer, cookie: str
) -> None:
    headers = {"Cookie": f"{COOKIE}={cookie}", "Origin": "https://evil.example"}
    async with httpx.AsyncClient(base_url=server.url) as http:
        assert (await http.post("/auth/logout", headers=headers)).status_code == 403

    assert await name_of(server, cookie) == "Ada"


async def test_the_log_does_not_contain_the_cookie(server: AppServer, cookie: str) -> None:
    assert await name_of(server, cookie) == "Ada"

    log = server.read_log()
    assert "/auth/me" in log
    assert not [part for part in cookie.split(".") if part in log]
