"""Accounts for a page of another origin."""

import httpx

from app.auth import AUTHENTICATION
from tests.support.auth import sign_in
from tests.support.auth.accounts import PASSWORD
from tests.support.client import Credentials, open_client
from tests.support.server import StartServer

GOOD = "https://good.example"


async def test_a_page_of_a_listed_origin_may_register_log_in_and_open_a_socket(
    start_server: StartServer,
) -> None:
    server = await start_server(ALLOWED_ORIGINS=GOOD)
    form = {"username": "alice", "password": PASSWORD}
    async with httpx.AsyncClient(base_url=server.url, headers={"Origin": GOOD}) as http:
        answers = [
            await http.post("/auth/register", data=form),
            await http.post("/auth/login", data=form),
            await http.get("/auth/me"),
            await http.post("/auth/login", data=form | {"password": "wrong"}),
        ]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == GOOD
        # Browsers send a credential of their own only where the server says so.
        allowed = answer.headers.get("access-control-allow-credentials")
        assert (allowed == "true") == AUTHENTICATION.is_sent_by_browsers
    assert [answer.status_code for answer in answers[:2]] == [201, 200]
    known = await sign_in(server.url, "alice")
    presented = Credentials(known.headers | {"Origin": GOOD}, known.subprotocols, known.first_frame)
    async with open_client(server.ws_url, presented, f"/ws?{await known.query()}") as client:
        await client.expect("welcome")


async def test_a_foreign_page_reads_nothing(start_server: StartServer) -> None:
    server = await start_server(ALLOWED_ORIGINS=GOOD)
    form = {"username": "alice", "password": PASSWORD}
    async with httpx.AsyncClient(base_url=server.url) as http:
        answer = await http.post(
            "/auth/login", data=form, headers={"Origin": "https://evil.example"}
        )
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
