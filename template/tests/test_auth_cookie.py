"""The session cookie: what it looks like, and when it opens a socket."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
import pytest_asyncio
from itsdangerous import Signer
from sqlalchemy import select, update
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from app.auth.accounts import Accounts, digest, open_accounts
from app.auth.cookie import SESSION_SECONDS, Session
from tests.auth.accounts import PASSWORD, SECRET_KEY
from tests.auth.cookie import sign_in
from tests.client import Credentials, open_client
from tests.conftest import StartServer
from tests.server import AppServer

OTHER_KEY = "another key for tests and for nothing else"


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('accounts') / 'app.db'}"


@pytest_asyncio.fixture(scope="module")
async def server(
    database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AppServer]:
    """One server for all of these tests: they need no broker."""
    server = AppServer(tmp_path_factory.mktemp("server"), {"DATABASE_URL": database_url})
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def accounts(server: AppServer, database_url: str) -> AsyncIterator[Accounts]:  # noqa: ARG001
    """The database of the server."""
    async with open_accounts(database_url) as accounts:
        yield accounts


@pytest_asyncio.fixture(scope="module")
async def headers(server: AppServer) -> dict[str, str]:
    """What the browser of somebody who is logged in sends. Tests leave the session alone."""
    return (await sign_in(server.url, "Ada")).headers


async def handshake(server: AppServer, headers: dict[str, str], path: str = "/ws") -> int:
    """The HTTP status that a handshake gets; 101 is success."""
    try:
        async with connect(server.ws_url + path, additional_headers=headers):
            return 101
    except InvalidStatus as refusal:
        return refusal.response.status_code


def token_of(headers: dict[str, str]) -> str:
    """The token that a signed cookie holds."""
    return headers["Cookie"].removeprefix("session=").rpartition(".")[0]


def sign(token: str, key: str) -> str:
    """The Cookie header of a token."""
    signer = Signer(key, salt="session", key_derivation="hmac", digest_method=hashlib.sha256)
    return f"session={signer.sign(token).decode()}"


async def log_in(server: AppServer) -> httpx.Response:
    """The answer to a login of somebody who has an account."""
    async with httpx.AsyncClient(base_url=server.url) as http:
        return await http.post("/auth/login", data={"username": "Ada", "password": PASSWORD})


async def test_a_session_opens_a_socket_in_the_users_name(
    server: AppServer, headers: dict[str, str]
) -> None:
    async with open_client(server.ws_url, Credentials(headers)) as client:
        await client.expect("welcome", user="Ada")
    assert await handshake(server, headers, "/ws/echo") == 101


@pytest.mark.parametrize("path", ["/ws", "/ws/echo"])
async def test_without_a_cookie_no_socket_opens(server: AppServer, path: str) -> None:
    assert await handshake(server, {"Origin": server.url}, path) == 401


@pytest.mark.parametrize("value", ["", "x", "x.y", ".", "a" * 4000, "\xff.\xff"], ids=ascii)
async def test_a_cookie_that_nobody_issued_opens_no_socket(server: AppServer, value: str) -> None:
    headers = {"Origin": server.url, "Cookie": f"session={value}"}

    assert await handshake(server, headers) == 401


async def test_a_changed_or_wrongly_signed_cookie_opens_no_socket(
    server: AppServer, headers: dict[str, str]
) -> None:
    cookie, token = headers["Cookie"], token_of(headers)
    other_letter = "A" if cookie[-3] != "A" else "B"
    changed = cookie[:-3] + other_letter + cookie[-2:]

    assert await handshake(server, {**headers, "Cookie": changed}) == 401
    assert await handshake(server, {**headers, "Cookie": sign(token, OTHER_KEY)}) == 401
    assert await handshake(server, {**headers, "Cookie": sign(token, SECRET_KEY)}) == 101


async def test_a_signed_token_without_a_session_opens_no_socket(
    server: AppServer, headers: dict[str, str]
) -> None:
    forged = {**headers, "Cookie": sign("made-up", SECRET_KEY)}

    assert await handshake(server, forged) == 401


async def test_an_expired_session_opens_no_socket_and_is_cleared_away(
    server: AppServer, accounts: Accounts
) -> None:
    headers = (await sign_in(server.url, "Ada")).headers
    of_this_session = Session.token_hash == digest(token_of(headers))
    async with accounts.transaction() as session:
        await session.execute(update(Session).where(of_this_session).values(expires_at=1))

    assert await handshake(server, headers) == 401

    await log_in(server)
    async with accounts.transaction() as session:
        assert await session.scalar(select(Session).where(of_this_session)) is None


async def test_logging_out_ends_the_session_and_no_other(
    server: AppServer, headers: dict[str, str]
) -> None:
    on_another_device = (await sign_in(server.url, "Ada")).headers

    async with httpx.AsyncClient(base_url=server.url) as http:
        answer = await http.post("/auth/logout", headers=on_another_device)

    assert answer.status_code == 204
    assert "Max-Age=0" in answer.headers["Set-Cookie"]
    assert await handshake(server, on_another_device) == 401
    assert await handshake(server, headers) == 101


async def test_who_is_not_logged_in_can_log_out(server: AppServer) -> None:
    async with httpx.AsyncClient(base_url=server.url) as http:
        for headers in [{}, {"Cookie": "session=x.y"}]:
            assert (await http.post("/auth/logout", headers=headers)).status_code == 204


async def test_a_handshake_with_a_cookie_needs_an_origin(
    server: AppServer, headers: dict[str, str]
) -> None:
    assert await handshake(server, {"Cookie": headers["Cookie"]}) == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_a_foreign_page_cannot_use_its_visitors_session(
    server: AppServer, headers: dict[str, str], origin: str
) -> None:
    assert await handshake(server, {**headers, "Origin": origin}) == 403


@pytest.mark.usefixtures("headers")
async def test_scripts_and_foreign_pages_do_not_get_the_cookie(server: AppServer) -> None:
    answer = await log_in(server)

    _, *attributes = answer.headers["Set-Cookie"].split("; ")
    assert set(attributes) == {"HttpOnly", "Path=/", "SameSite=lax", f"Max-Age={SESSION_SECONDS}"}
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json() == {"username": "Ada"}


@pytest.mark.usefixtures("headers")
async def test_production_sends_the_cookie_over_https_only(
    start_server: StartServer, database_url: str
) -> None:
    production = await start_server(
        ENVIRONMENT="production", SECRET_KEYS=SECRET_KEY, DATABASE_URL=database_url
    )

    answer = await log_in(production)

    assert "Secure" in answer.headers["Set-Cookie"].split("; ")


async def test_the_database_does_not_hold_what_the_cookie_holds(
    accounts: Accounts, headers: dict[str, str]
) -> None:
    token = token_of(headers)
    async with accounts.transaction() as session:
        hashes = (await session.scalars(select(Session.token_hash))).all()

    assert token not in hashes
    assert digest(token) in hashes


async def test_the_first_key_signs_and_all_are_accepted(
    start_server: StartServer, server: AppServer, database_url: str, headers: dict[str, str]
) -> None:
    rotated = await start_server(SECRET_KEYS=f"{OTHER_KEY},{SECRET_KEY}", DATABASE_URL=database_url)
    after = (await sign_in(rotated.url, "Ada")).headers

    assert await handshake(rotated, {**headers, "Origin": rotated.url}) == 101
    assert await handshake(rotated, after) == 101
    assert await handshake(server, {**after, "Origin": server.url}) == 401


async def test_open_sockets_hold_no_database_connections(
    server: AppServer, headers: dict[str, str]
) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(20):  # the pool has 15
            socket = connect(server.ws_url + "/ws", additional_headers=headers)
            await stack.enter_async_context(socket)

        async with httpx.AsyncClient(base_url=server.url) as http:
            answer = await http.get("/auth/me", headers=headers)

    assert answer.status_code == 200


async def test_the_cookie_stays_out_of_the_log(server: AppServer, headers: dict[str, str]) -> None:
    assert await handshake(server, headers) == 101

    log = server.read_log()
    assert "/ws" in log
    assert token_of(headers) not in log


async def test_the_openapi_document_names_the_cookie(server: AppServer) -> None:
    async with httpx.AsyncClient(base_url=server.url) as http:
        document = (await http.get("/openapi.json")).json()

    scheme = document["components"]["securitySchemes"]["APIKeyCookie"]
    assert scheme == {"type": "apiKey", "in": "cookie", "name": "session"}
