"""Log in with a session cookie, and open sockets with tickets."""

from dataclasses import dataclass

import httpx

from tests.support.auth.accounts import log_in
from tests.support.auth.sessions import session_cookie
from tests.support.client import Credentials


@dataclass(frozen=True)
class Session(Credentials):
    """A session. Each socket is opened with a new ticket."""

    base_url: str = ""

    async def query(self) -> str:
        return f"ticket={await self.ticket()}"

    async def ticket(self) -> str:
        async with httpx.AsyncClient(base_url=self.base_url, headers=self.headers) as http:
            answer = await http.post("/auth/ticket")
        assert answer.status_code == 200, answer.text
        ticket: str = answer.json()["ticket"]
        return ticket


async def sign_in(base_url: str, name: str) -> Session:
    """The session of a new login."""
    cookie = session_cookie(await log_in(base_url, name))
    headers = {"Cookie": cookie, "Origin": base_url}
    return Session(headers=headers, base_url=base_url)
