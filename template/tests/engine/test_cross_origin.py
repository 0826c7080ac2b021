"""Which other pages may read what the application answers (CORS)."""

import httpx
import pytest

from tests.engine.example_server import PLAIN_UVICORN
from tests.support.server import AppServer, StartServer

GOOD = "https://good.example"
API_KEY = "k" * 32
ALLOWED = "access-control-allow-origin"


async def preflight(server: AppServer, path: str, **headers: str) -> httpx.Response:
    """What a browser asks before a request that forms can't make."""
    asked = {"Origin": GOOD, "Access-Control-Request-Method": "POST"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(base_url=server.url) as http:
        return await http.options(path, headers=asked | named)


async def get(server: AppServer, path: str, origin: str = GOOD) -> httpx.Response:
    async with httpx.AsyncClient(base_url=server.url) as http:
        return await http.get(path, headers={"Origin": origin})


async def test_a_page_of_a_listed_origin_may_read_answers(start_server: StartServer) -> None:
    server = await start_server(ALLOWED_ORIGINS=f"{GOOD},https://other.example", API_KEYS=API_KEY)
    # An error is an answer, too.
    for path, status in {"/healthz": 200, "/api/rooms/lobby": 401, "/api/nothing": 404}.items():
        answer = await get(server, path)
        assert (answer.status_code, answer.headers[ALLOWED]) == (status, GOOD)
        assert "Origin" in answer.headers["vary"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        for origin in ("https://evil.example", "null", "*", f"{GOOD}.evil.example"):
            refused = await get(server, path, origin)
            assert ALLOWED not in refused.headers, origin
            assert "Origin" in refused.headers["vary"]


async def test_a_page_of_a_listed_origin_may_send_a_key(start_server: StartServer) -> None:
    server = await start_server(ALLOWED_ORIGINS=GOOD, API_KEYS=API_KEY)
    named = {"Access_Control_Request_Headers": "authorization,content-type"}
    allowed = await preflight(server, "/api/publish", **named)
    assert (allowed.status_code, allowed.headers[ALLOWED]) == (200, GOOD)
    assert "POST" in allowed.headers["access-control-allow-methods"]
    foreign = await preflight(server, "/api/publish", **named, Origin="https://evil.example")
    assert (foreign.status_code, ALLOWED in foreign.headers) == (400, False)
    other = await preflight(server, "/api/publish", Access_Control_Request_Headers="x-secret")
    assert other.status_code == 400


@pytest.mark.parametrize("path", ["/", "/ws/echo", "/metrics", "/openapi.json", "/authors"])
async def test_other_answers_are_for_pages_of_the_own_origin(
    start_server: StartServer, path: str
) -> None:
    server = await start_server(ALLOWED_ORIGINS=GOOD)
    assert ALLOWED not in (await get(server, path)).headers


async def test_without_a_list_no_other_page_may_read_anything(start_server: StartServer) -> None:
    server = await start_server()
    assert ALLOWED not in (await get(server, "/healthz")).headers
    assert (await preflight(server, "/healthz")).status_code == 405


async def test_it_holds_below_a_path_prefix(start_server: StartServer) -> None:
    command = (*PLAIN_UVICORN, "--root-path", "/chat")
    server = await start_server(*command, ALLOWED_ORIGINS=GOOD)
    assert (await get(server, "/healthz")).headers[ALLOWED] == GOOD
