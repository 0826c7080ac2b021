"""A login that is a session cookie."""

import asyncio

from client.auth.accounts.http import post
from client.auth.accounts.login import log_in
from client.credentials import Send


class Session:
    """A session, from a password or from a cookie that was stored.

    The password stays in memory and is not written anywhere.
    """

    def __init__(self, username: str = "", password: str = "", *, cookie: str = "") -> None:
        """Give a password, a cookie, or both: then the password renews the cookie."""
        self.username = username
        self._password = password
        self._turn = asyncio.Lock()
        self.cookie = cookie
        """The session as `name=value`. Whoever has it is this user: store it like a password."""

    async def log_in(self, server: str) -> None:
        """Begin a session now, rather than with the first connection.

        Raises Unauthenticated for a wrong name or password, and Unreachable.
        """
        answer = await log_in(server, self.username, self._password)
        self.cookie = "; ".join(f"{name}={value}" for name, value in answer.cookies.items())

    async def headers(self, server: str) -> dict[str, str]:
        """What a request with the session carries. Logs in without one."""
        async with self._turn:  # of those who share this login, one logs in
            if not self.cookie:
                await self.log_in(server)
            return {"Cookie": self.cookie}

    async def log_out(self, server: str) -> None:
        """End the session. Its connections are closed."""
        if self.cookie:
            await post(server, "auth/logout", headers={"Cookie": self.cookie})
        self.cookie = ""

    async def while_open(self, server: str, send: Send) -> None:
        """The session lasts as long as it lasts: there is nothing to do."""
