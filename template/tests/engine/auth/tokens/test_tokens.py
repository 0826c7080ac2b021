"""Access tokens and refresh tokens: what a login answers, and which tokens are valid."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import jwt
import pytest
import pytest_asyncio
from sqlalchemy import select, update
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app import PROJECT_NAME
from app.auth.accounts.database import Database, open_database
from app.auth.accounts.logins import Login, id_of
from app.auth.tokens import ACCESS_SECONDS, CLAIMS
from tests.engine.example_server import ExampleServer
from tests.support.auth import sign_in
from tests.support.auth.accounts import OTHER_KEY, PASSWORD, SECRET_KEY
from tests.support.auth.tokens import Tokens, bad_tokens, log_in_anew, refresh
from tests.support.client import open_client
from tests.support.server import AppServer, StartServer


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('accounts') / 'app.db'}"


@pytest_asyncio.fixture(scope="module")
async def server(
    database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AppServer]:
    """One server for all of these tests, with the broker `memory://`."""
    settings = {"DATABASE_URL": database_url}
    async with ExampleServer(tmp_path_factory.mktemp("server"), settings).running() as server:
        yield server


@pytest_asyncio.fixture
async def database(server: AppServer, database_url: str) -> AsyncIterator[Database]:  # noqa: ARG001
    """The database of the server."""
    async with open_database(database_url) as database:
        yield database


@pytest_asyncio.fixture(scope="module")
async def http(server: AppServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url) as http:
        yield http


@pytest_asyncio.fixture(scope="module")
async def ada(server: AppServer) -> Tokens:
    """A login that no test ends."""
    return await tokens_of(server, "Ada")


@pytest_asyncio.fixture(scope="module")
async def grace(server: AppServer) -> Tokens:
    """A login of another user."""
    return await tokens_of(server, "Grace")


async def tokens_of(server: AppServer, name: str) -> Tokens:
    tokens = await sign_in(server.url, name)
    assert isinstance(tokens, Tokens)
    return tokens


async def me(base_url: str, access_token: str) -> httpx.Response:
    """Ask the server whose access token this is."""
    headers = {"Authorization": f"Bearer {access_token}"}
    async with httpx.AsyncClient(base_url=base_url, headers=headers) as http:
        return await http.get("/auth/me")


async def opens(server: AppServer, tokens: Tokens) -> bool:
    """Whether a socket opens with these tokens."""
    try:
        async with open_client(server.ws_url, tokens) as client:
            await client.expect("welcome")
    except (InvalidStatus, ConnectionClosed):
        return False
    return True


# --- Access tokens ------------------------------------------------------------


async def test_a_login_answers_with_a_pair_of_tokens(ada: Tokens, http: httpx.AsyncClient) -> None:
    form = {"username": "Ada", "password": PASSWORD}
    answer = await http.post("/auth/login", data=form)

    tokens = answer.json()
    assert list(tokens) == ["access_token", "refresh_token", "token_type", "expires_in"]
    assert tokens["token_type"] == "bearer"
    assert tokens["expires_in"] == ACCESS_SECONDS
    assert answer.headers["Cache-Control"] == "no-store"
    claims = jwt.decode(
        tokens["access_token"], SECRET_KEY, algorithms=["HS256"], audience=PROJECT_NAME
    )
    assert sorted(claims) == sorted(CLAIMS)
    assert claims["exp"] - claims["iat"] == ACCESS_SECONDS
    assert claims["sub"] == ada.claims["sub"]
    assert claims["sid"] != ada.claims["sid"]


async def test_a_bad_access_token_is_refused(server: AppServer, ada: Tokens, grace: Tokens) -> None:
    for kind, token in bad_tokens(ada, grace).items():
        answer = await me(server.url, token)

        assert answer.status_code == 401, kind
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    genuine = await me(server.url, ada.access_token)
    assert genuine.json() == {"id": ada.claims["sub"], "username": "Ada"}


async def test_the_first_key_signs_and_all_keys_are_accepted(
    start_server: StartServer, server: AppServer, database_url: str, ada: Tokens
) -> None:
    keys = f"{OTHER_KEY},{SECRET_KEY}"
    rotated = await start_server(SECRET_KEYS=keys, DATABASE_URL=database_url)
    after = await tokens_of(rotated, "Ada")

    assert await opens(rotated, ada)
    assert await opens(rotated, after)
    assert not await opens(server, after)
    jwt.decode(after.access_token, OTHER_KEY, algorithms=["HS256"], audience=PROJECT_NAME)


# --- Refresh tokens -----------------------------------------------------------


async def test_a_refresh_token_is_exchanged_for_a_new_pair(
    server: AppServer, http: httpx.AsyncClient, ada: Tokens
) -> None:
    first = await log_in_anew(server.url)

    answer = await refresh(http, first["refresh_token"])

    second = answer.json()
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert list(second) == list(first)
    assert second["refresh_token"] != first["refresh_token"]
    user = (await me(server.url, second["access_token"])).json()
    assert user == {"id": ada.claims["sub"], "username": "Ada"}


async def test_reusing_a_refresh_token_ends_its_login_and_no_other(
    server: AppServer, http: httpx.AsyncClient
) -> None:
    on_another_device = await log_in_anew(server.url)
    first = await log_in_anew(server.url)
    second = (await refresh(http, first["refresh_token"])).json()

    assert (await refresh(http, first["refresh_token"])).status_code == 401
    assert (await refresh(http, second["refresh_token"])).status_code == 401
    assert (await me(server.url, second["access_token"])).status_code == 401
    assert (await refresh(http, on_another_device["refresh_token"])).status_code == 200


async def test_at_most_one_of_eight_concurrent_refreshes_succeeds(
    server: AppServer, http: httpx.AsyncClient
) -> None:
    tokens = await log_in_anew(server.url)

    answers = await asyncio.gather(*(refresh(http, tokens["refresh_token"]) for _ in range(8)))

    codes = sorted(answer.status_code for answer in answers)
    assert codes[0] in {200, 401}
    assert codes[1:] == [401] * 7
    assert (await me(server.url, tokens["access_token"])).status_code == 401


async def test_an_expired_refresh_token_is_refused_and_deleted(
    server: AppServer, http: httpx.AsyncClient, database: Database
) -> None:
    tokens = await log_in_anew(server.url)
    this_login = Login.id == id_of(tokens["refresh_token"])
    async with database.transaction() as session:
        await session.execute(update(Login).where(this_login).values(expires_at=1))

    assert (await me(server.url, tokens["access_token"])).status_code == 401
    await log_in_anew(server.url)

    async with database.transaction() as session:
        assert await session.scalar(select(Login).where(this_login)) is None
    assert (await refresh(http, tokens["refresh_token"])).status_code == 401


@pytest.mark.parametrize("token", ["", ".", "x", "a.b", "\x00.\x00", "\ufffd" * 4000], ids=ascii)
async def test_a_made_up_refresh_token_is_refused(http: httpx.AsyncClient, token: str) -> None:
    answer = await refresh(http, token)

    assert answer.status_code == 401
    assert answer.json() == {"detail": "This refresh token is not valid any more: log in again."}


async def test_a_refresh_token_with_the_secret_of_another_login_is_refused(
    server: AppServer, http: httpx.AsyncClient, grace: Tokens
) -> None:
    series, _ = (await log_in_anew(server.url))["refresh_token"].split(".")
    _, secret = grace.refresh_token.split(".")

    assert (await refresh(http, f"{series}.{secret}")).status_code == 401


async def test_an_access_token_is_refused_as_a_refresh_token(
    http: httpx.AsyncClient, ada: Tokens
) -> None:
    assert (await refresh(http, ada.access_token)).status_code == 401


async def test_logging_out_ends_the_login(server: AppServer, http: httpx.AsyncClient) -> None:
    tokens = await log_in_anew(server.url)

    answer = await http.post("/auth/logout", data={"refresh_token": tokens["refresh_token"]})

    assert answer.status_code == 204
    assert (await refresh(http, tokens["refresh_token"])).status_code == 401
    assert (await me(server.url, tokens["access_token"])).status_code == 401


async def test_the_id_of_a_login_neither_renews_nor_ends_it(
    server: AppServer, http: httpx.AsyncClient
) -> None:
    """An access token names the id, and so may a log."""
    tokens = await sign_in(server.url, "Ada")
    assert isinstance(tokens, Tokens)
    login = tokens.claims["sid"]

    for made_up in (login, f"{login}.", f"{login}.x"):
        assert (await refresh(http, made_up)).status_code == 401
        assert (await http.post("/auth/logout", data={"refresh_token": made_up})).is_success
        assert (await me(server.url, made_up)).status_code == 401

    assert (await me(server.url, tokens.access_token)).status_code == 200
    assert (await refresh(http, tokens.refresh_token)).status_code == 200


async def test_logging_out_without_a_login_succeeds(http: httpx.AsyncClient) -> None:
    for form in ({}, {"refresh_token": "x"}, {"refresh_token": "\x00"}):
        assert (await http.post("/auth/logout", data=form)).status_code == 204


async def test_the_database_does_not_contain_the_secret_of_a_refresh_token(
    ada: Tokens, database: Database
) -> None:
    series, secret = ada.refresh_token.split(".")
    async with database.transaction() as session:
        logins = (await session.scalars(select(Login))).all()

    assert logins
    for login in logins:
        assert secret not in f"{login.id} {login.secret_hash}"
        assert series not in f"{login.id} {login.secret_hash}"


async def test_the_log_does_not_contain_refresh_tokens(
    server: AppServer, http: httpx.AsyncClient
) -> None:
    tokens = await log_in_anew(server.url)
    second = (await refresh(http, tokens["refresh_token"])).json()
    await http.post("/auth/logout", data={"refresh_token": second["refresh_token"]})

    log = server.read_log()
    assert "/auth/refresh" in log
    for token in (tokens["refresh_token"], second["refresh_token"], second["access_token"]):
        assert token not in log


async def test_the_openapi_document_lets_swagger_log_in(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()

    scheme = document["components"]["securitySchemes"]["OAuth2PasswordBearer"]
    assert scheme["flows"]["password"]["tokenUrl"] == "auth/login"
    assert document["paths"]["/auth/me"]["get"]["security"] == [{"OAuth2PasswordBearer": []}]
