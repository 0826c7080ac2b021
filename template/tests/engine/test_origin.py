"""Which web pages may open a socket."""

import pytest
from fastapi.requests import HTTPConnection
from websockets.exceptions import InvalidStatus

from app.realtime.origin import own_origin
from tests.support.auth import sign_in
from tests.support.client import Credentials, open_client
from tests.support.server import AppServer, StartServer

PATHS = ["/ws", "/ws/echo"]

GOOD = "https://good.example"
"""What ALLOWED_ORIGINS lists."""

FOREIGN = [
    "https://evil.example",
    "null",
    "",
    "*",
    "good.example",
    "https://",
    "https://good.example.evil.example",
    "https://evil-good.example",
    "https://sub.good.example",
    "https://good.example:8443",
    "https://good.example.",
    "https://good.example/",
    "https://good.example@evil.example",
    "https://evil.example@good.example",
    "https://GOOD.example",
    "HTTPS://good.example",
    "http://good.example",
    "https://good.example, https://good.example",
    "https://good.example https://evil.example",
]
"""Origins that are refused while GOOD is listed."""

NEARLY_OWN = ["http://127.0.0.1", "{url}.evil.example", "https{host}", "http://localhost", "{url}0"]
"""Origins that resemble the server's own, and are refused."""


async def answer(server: AppServer, path: str, host: str = "", **headers: str) -> int:
    """The HTTP status that answers a handshake with these headers: 101 accepts it."""
    known = await sign_in(server.url, "alice")
    path += f"?{await known.query()}"
    presented = Credentials(known.headers | headers, known.subprotocols, known.first_frame)
    url = f"ws://{host}" if host else server.ws_url
    try:
        opening = open_client(url, presented, path, host="127.0.0.1", port=server.port)
        async with opening as client:
            await client.expect("welcome")
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_of_the_servers_own_origin_may_open_a_socket(
    server: AppServer, path: str
) -> None:
    assert await answer(server, path, Origin=server.url) == 101


async def test_a_page_of_another_origin_is_refused_before_accept(start_server: StartServer) -> None:
    server = await start_server(ALLOWED_ORIGINS=f"{GOOD},https://other.example")
    host = server.url.removeprefix("http")
    nearly_own = [origin.format(url=server.url, host=host) for origin in NEARLY_OWN]
    for path in PATHS:
        assert await answer(server, path, Origin=GOOD) == 101
        for origin in [*FOREIGN, *nearly_own]:
            assert await answer(server, path, Origin=origin) == 403, origin
    assert "ERROR" not in server.read_log()


# --- Behind a proxy that ends TLS -------------------------------------------------


async def through_proxy(server: AppServer, path: str, origin: str) -> int:
    """The status for a page of `origin`, through a proxy that received the request by HTTPS."""
    claim = {"X-Forwarded-Proto": "https"}
    return await answer(server, path, "chat.example", Origin=origin, **claim)


async def test_a_page_of_the_own_origin_may_open_a_socket_through_a_listed_proxy(
    start_server: StartServer,
) -> None:
    server = await start_server()  # which lists 127.0.0.1
    for path in PATHS:
        assert await through_proxy(server, path, "https://chat.example") == 101
        assert await through_proxy(server, path, "http://chat.example") == 403
        assert await through_proxy(server, path, "https://evil.example") == 403


async def test_a_proxy_that_is_not_listed_cannot_change_the_origin(
    start_server: StartServer,
) -> None:
    server = await start_server(FORWARDED_ALLOW_IPS="127.0.0.2,10.0.0.0/8")
    for path in PATHS:
        assert await through_proxy(server, path, "https://chat.example") == 403
        assert await through_proxy(server, path, "http://chat.example") == 101


@pytest.mark.parametrize(
    ("scheme", "host", "origin"),
    [
        ("ws", "chat.example", "http://chat.example"),
        ("wss", "chat.example", "https://chat.example"),
        ("https", "chat.example:443", "https://chat.example"),
        ("http", "chat.example:80", "http://chat.example"),
        ("http", "chat.example:443", "http://chat.example:443"),
        ("https", "chat.example:8443", "https://chat.example:8443"),
        ("wss", "[::1]:8000", "https://[::1]:8000"),
        ("wss", "[", "https://["),
    ],
)
def test_the_own_origin_is_written_as_browsers_write_it(
    scheme: str, host: str, origin: str
) -> None:
    scope = {"type": "http", "scheme": scheme, "headers": [(b"host", host.encode())]}
    assert own_origin(HTTPConnection(scope)) == origin
