"""The tokens: which open a socket, and how a login lasts and ends."""

import asyncio
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest
import pytest_asyncio
from sqlalchemy import select, update
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from app import PROJECT_NAME
from app.auth.accounts import Accounts, open_accounts
from app.auth.jwt import ACCESS_SECONDS, CLAIMS, TokenFamily
from app.protocol import SUBPROTOCOL
from tests.auth.accounts import PASSWORD, SECRET_KEY
from tests.auth.jwt import sign_in
from tests.client import open_client
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
async def http(server: AppServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url) as http:
        yield http


async def log_in(http: httpx.AsyncClient, name: str = "Ada") -> dict[str, Any]:
    """The answer to a login, after a registration if the name is new."""
    form = {"username": name, "password": PASSWORD}
    await http.post("/auth/register", data=form)
    answer = await http.post("/auth/login", data=form)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    tokens: dict[str, Any] = answer.json()
    return tokens


async def refresh(http: httpx.AsyncClient, refresh_token: str) -> httpx.Response:
    return await http.post("/auth/refresh", data={"refresh_token": refresh_token})


def make_token(
    changes: dict[str, object] | None = None, key: str = SECRET_KEY, algorithm: str = "HS256"
) -> str:
    """A token such as the server signs, with other claims; None leaves one out."""
    now = int(time.time())
    claims = {
        "iss": PROJECT_NAME,
        "aud": PROJECT_NAME,
        "sub": "Ada",
        "iat": now,
        "exp": now + 60,
        "jti": "1",
        **(changes or {}),
    }
    present = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(present, key, algorithm)


def make_part(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def handshake(server: AppServer, token: str, path: str = "/ws") -> int:
    """The HTTP status that a handshake gets; 101 is success."""
    try:
        headers = {"Authorization": f"Bearer {token}"}
        async with connect(server.ws_url + path, additional_headers=headers):
            return 101
    except InvalidStatus as refusal:
        return refusal.response.status_code


# --- Access tokens ------------------------------------------------------------


async def test_a_login_answers_with_a_pair_of_tokens(http: httpx.AsyncClient) -> None:
    tokens = await log_in(http)

    assert list(tokens) == ["access_token", "refresh_token", "token_type", "expires_in"]
    assert tokens["token_type"] == "bearer"
    assert tokens["expires_in"] == ACCESS_SECONDS
    claims = jwt.decode(
        tokens["access_token"], SECRET_KEY, algorithms=["HS256"], audience=PROJECT_NAME
    )
    assert sorted(claims) == sorted(CLAIMS)
    assert (claims["sub"], claims["exp"] - claims["iat"]) == ("Ada", ACCESS_SECONDS)


async def test_a_token_in_the_header_opens_a_socket_in_the_users_name(server: AppServer) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "Ada")) as client:
        await client.expect("welcome", user="Ada")
    assert await handshake(server, make_token(), "/ws/echo") == 101


async def test_a_token_among_the_subprotocols_opens_a_socket_and_is_not_echoed(
    server: AppServer,
) -> None:
    offered = [Subprotocol(SUBPROTOCOL), Subprotocol(f"bearer.{make_token()}")]

    async with connect(server.ws_url + "/ws", subprotocols=offered) as socket:
        assert json.loads(await socket.recv())["user"] == "Ada"
        assert socket.subprotocol == SUBPROTOCOL
        assert socket.response is not None
        assert "bearer" not in str(socket.response.headers)


async def test_a_bad_token_among_the_subprotocols_opens_no_socket(server: AppServer) -> None:
    offered = [Subprotocol(SUBPROTOCOL), Subprotocol(f"bearer.{make_token(key=OTHER_KEY)}")]

    with pytest.raises(InvalidStatus) as refusal:
        await connect(server.ws_url + "/ws", subprotocols=offered)

    assert refusal.value.response.status_code == 401


@pytest.mark.parametrize("path", ["/ws", "/ws/echo"])
async def test_without_a_token_no_socket_opens(server: AppServer, path: str) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        await connect(server.ws_url + path)

    assert refusal.value.response.status_code == 401
    assert refusal.value.response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "token",
    ["x", "x.y.z", "..", "a" * 4000, "e30.e30.", f"{urlsafe_b64encode(b'[' * 5000).decode()}.x.y"],
    ids=lambda token: token[:8],
)
async def test_garbage_opens_no_socket(server: AppServer, token: str) -> None:
    assert await handshake(server, token) == 401


@pytest.mark.parametrize(
    "token",
    [
        make_token({"exp": 1}),
        make_token(key=OTHER_KEY),
        make_token({"aud": "another application"}),
        make_token({"aud": [PROJECT_NAME, "another application"]}),
        make_token({"iss": "somebody else"}),
        make_token({"sub": 7}),
        make_token(key="", algorithm="none"),
        make_token(key=SECRET_KEY * 2, algorithm="HS512"),
        *(make_token({claim: None}) for claim in CLAIMS),
    ],
    ids=["expired", "key", "audience", "audiences", "issuer", "subject", "none", "HS512", *CLAIMS],
)
async def test_a_token_that_the_server_would_not_make_opens_no_socket(
    server: AppServer, token: str
) -> None:
    assert await handshake(server, token) == 401


async def test_a_token_with_another_name_under_its_signature_opens_no_socket(
    server: AppServer,
) -> None:
    header, _, signature = make_token().split(".")
    claims = jwt.decode(make_token(), options={"verify_signature": False})
    for other_header in [header, make_part({"alg": "none", "typ": "JWT"})]:
        payload = make_part({**claims, "sub": "Grace"})

        assert await handshake(server, f"{other_header}.{payload}.{signature}") == 401


async def test_the_first_key_signs_and_all_are_accepted(
    start_server: StartServer, server: AppServer, http: httpx.AsyncClient
) -> None:
    rotated = await start_server(SECRET_KEYS=f"{OTHER_KEY},{SECRET_KEY}")
    before = (await log_in(http))["access_token"]
    async with httpx.AsyncClient(base_url=rotated.url) as rotated_http:
        after = (await log_in(rotated_http))["access_token"]

    assert await handshake(rotated, before) == 101
    assert await handshake(rotated, after) == 101
    assert await handshake(server, after) == 401


async def test_a_foreign_page_opens_no_socket(server: AppServer) -> None:
    headers = {"Authorization": f"Bearer {make_token()}", "Origin": "https://evil.example"}

    with pytest.raises(InvalidStatus) as refusal:
        await connect(server.ws_url + "/ws", additional_headers=headers)

    assert refusal.value.response.status_code == 403


# --- Refresh tokens -----------------------------------------------------------


async def test_a_refresh_token_is_exchanged_for_a_new_pair(
    server: AppServer, http: httpx.AsyncClient
) -> None:
    first = await log_in(http)

    answer = await refresh(http, first["refresh_token"])

    second = answer.json()
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert list(second) == list(first)
    assert second["refresh_token"] != first["refresh_token"]
    assert await handshake(server, second["access_token"]) == 101


async def test_a_spent_refresh_token_ends_its_login_and_no_other(http: httpx.AsyncClient) -> None:
    on_another_device = await log_in(http)
    first = await log_in(http)
    second = (await refresh(http, first["refresh_token"])).json()

    assert (await refresh(http, first["refresh_token"])).status_code == 401
    assert (await refresh(http, second["refresh_token"])).status_code == 401
    assert (await refresh(http, on_another_device["refresh_token"])).status_code == 200


async def test_of_two_who_spend_a_refresh_token_at_once_one_gets_tokens(
    http: httpx.AsyncClient,
) -> None:
    tokens = await log_in(http)

    answers = await asyncio.gather(*(refresh(http, tokens["refresh_token"]) for _ in range(8)))

    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 7


async def test_an_expired_refresh_token_is_refused_and_cleared_away(
    http: httpx.AsyncClient, accounts: Accounts
) -> None:
    tokens = await log_in(http)
    async with accounts.transaction() as session:
        await session.execute(update(TokenFamily).values(expires_at=1))

    assert (await refresh(http, tokens["refresh_token"])).status_code == 401

    await log_in(http)
    async with accounts.transaction() as session:
        assert 1 not in (await session.scalars(select(TokenFamily.expires_at))).all()


@pytest.mark.parametrize("token", ["", ".", "x", "a.b", "\x00.\x00", "\ufffd" * 4000], ids=ascii)
async def test_a_refresh_token_that_nobody_issued_is_refused(
    http: httpx.AsyncClient, token: str
) -> None:
    answer = await refresh(http, token)

    assert answer.status_code == 401
    assert answer.json() == {"detail": "This refresh token is not valid any more: log in again."}


async def test_a_secret_of_another_login_is_refused(http: httpx.AsyncClient) -> None:
    family, _ = (await log_in(http, "Ada"))["refresh_token"].split(".")
    _, secret = (await log_in(http, "Grace"))["refresh_token"].split(".")

    assert (await refresh(http, f"{family}.{secret}")).status_code == 401


async def test_an_access_token_does_not_refresh_and_a_refresh_token_opens_no_socket(
    server: AppServer, http: httpx.AsyncClient
) -> None:
    tokens = await log_in(http)

    assert (await refresh(http, tokens["access_token"])).status_code == 401
    assert await handshake(server, tokens["refresh_token"]) == 401


async def test_logging_out_ends_the_login(http: httpx.AsyncClient) -> None:
    tokens = await log_in(http)

    answer = await http.post("/auth/logout", data={"refresh_token": tokens["refresh_token"]})

    assert answer.status_code == 204
    assert (await refresh(http, tokens["refresh_token"])).status_code == 401


async def test_who_is_not_logged_in_can_log_out(http: httpx.AsyncClient) -> None:
    assert (await http.post("/auth/logout")).status_code == 204


async def test_the_database_does_not_hold_what_a_refresh_token_holds(
    http: httpx.AsyncClient, accounts: Accounts
) -> None:
    token = (await log_in(http))["refresh_token"]

    async with accounts.transaction() as session:
        families = (await session.scalars(select(TokenFamily))).all()

    for part in token.split("."):
        assert not any(part in family.family_hash + family.token_hash for family in families)


async def test_tokens_stay_out_of_the_log(server: AppServer, http: httpx.AsyncClient) -> None:
    tokens = await log_in(http)
    await refresh(http, tokens["refresh_token"])
    assert await handshake(server, tokens["access_token"]) == 101
    offered = [Subprotocol(SUBPROTOCOL), Subprotocol(f"bearer.{tokens['access_token']}")]
    async with connect(server.ws_url + "/ws", subprotocols=offered):
        pass

    log = server.read_log()
    assert "/ws" in log
    assert tokens["access_token"] not in log
    assert tokens["refresh_token"] not in log


async def test_the_openapi_document_lets_swagger_log_in(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()

    scheme = document["components"]["securitySchemes"]["OAuth2PasswordBearer"]
    assert scheme["flows"]["password"]["tokenUrl"] == "auth/login"
    assert document["paths"]["/auth/me"]["get"]["security"] == [{"OAuth2PasswordBearer": []}]
