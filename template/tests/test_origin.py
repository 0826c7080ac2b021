"""Which web pages may open a socket."""

import pytest
from websockets.exceptions import InvalidStatus

from tests.auth import sign_in
from tests.client import open_client
from tests.conftest import StartServer
from tests.server import AppServer

PATHS = ["/ws", "/ws/echo"]


@pytest.mark.parametrize("path", PATHS)
async def test_own_page_may_enter(server: AppServer, path: str) -> None:
    credentials = await sign_in(server.url, "alice")
    credentials.headers["Origin"] = server.url
    async with open_client(server.ws_url, credentials, path) as client:
        await client.expect("welcome")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://127.0.0.1", "{url}.evil.example", "https{host}", ""],
)
async def test_foreign_page_is_refused_before_accept(
    server: AppServer, path: str, origin: str
) -> None:
    credentials = await sign_in(server.url, "alice")
    credentials.headers["Origin"] = origin.format(
        url=server.url, host=server.url.removeprefix("http")
    )
    with pytest.raises(InvalidStatus) as refused:
        await open_client(server.ws_url, credentials, path).__aenter__()
    assert refused.value.response.status_code == 403
    assert "ERROR" not in server.read_log()


async def test_listed_page_may_enter(start_server: StartServer) -> None:
    server = await start_server(ALLOWED_ORIGINS="https://one.example, https://two.example")
    credentials = await sign_in(server.url, "alice")
    credentials.headers["Origin"] = "https://two.example"
    async with open_client(server.ws_url, credentials) as client:
        await client.expect("welcome")
