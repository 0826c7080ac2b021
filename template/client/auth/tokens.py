"""A login that is a pair of tokens."""

import asyncio
import time
from collections.abc import Callable

import httpx

from client.auth.accounts.http import Refused, post
from client.auth.accounts.login import log_in
from client.credentials import Send, Unreachable
from client.errors import Unauthenticated

FRESH = 0.8
"""The part of its lifetime after which an access token is exchanged for a new one."""

RETRY = 10.0
"""Seconds until the next attempt, after the server could not be asked for new tokens."""


class Tokens:
    """Access tokens, from a password or from a refresh token that was stored.

    The password stays in memory and is not written anywhere.
    """

    def __init__(
        self,
        username: str = "",
        password: str = "",
        *,
        refresh_token: str = "",
        save: Callable[[str], None] | None = None,
    ) -> None:
        """Give a password, a refresh token, or both.

        A refresh token is good for one use: `save` is called with each new one. Whoever has
        it is this user, so store it like a password. Use it in one process only: a token that
        is used twice ends the login.
        """
        self.username = username
        self._password = password
        self._turn = asyncio.Lock()
        self._access_token = ""
        self._refresh_token = refresh_token
        self._save = save
        self._stale_at = 0.0

    async def log_in(self, server: str) -> None:
        """Log in now, rather than with the first connection.

        Raises Unauthenticated for a wrong name or password, and Unreachable.
        """
        self._take(await log_in(server, self.username, self._password))

    def _take(self, answer: httpx.Response) -> None:
        """Keep the tokens of an answer."""
        tokens = answer.json()
        self._access_token = tokens["access_token"]
        self._refresh_token = tokens["refresh_token"]
        self._stale_at = time.monotonic() + FRESH * tokens["expires_in"]
        if self._save is not None:
            self._save(self._refresh_token)

    async def access_token(self, server: str) -> str:
        """A token that is valid for a while. Raises Unauthenticated and Unreachable."""
        async with self._turn:  # of those who share this login, one renews it
            if time.monotonic() >= self._stale_at:
                await self._refresh(server)
            return self._access_token

    async def _refresh(self, server: str) -> None:
        if self._refresh_token:
            try:
                fields = {"refresh_token": self._refresh_token}
                self._take(await post(server, "auth/refresh", fields))
            except Refused:
                self._refresh_token = ""
            else:
                return
        await self.log_in(server)

    def refused(self) -> None:
        """The access token is not valid any more."""
        self._stale_at = 0.0

    async def log_out(self, server: str) -> None:
        """End the login. Its connections are closed."""
        if self._refresh_token:
            await post(server, "auth/logout", {"refresh_token": self._refresh_token})
        self._access_token = self._refresh_token = ""
        self._stale_at = 0.0

    async def while_open(self, server: str, send: Send) -> None:
        """Keep the socket open for longer than its access token is valid."""
        while True:
            await asyncio.sleep(max(0.0, self._stale_at - time.monotonic()))
            try:
                token = await self.access_token(server)
            except Unreachable:
                await asyncio.sleep(RETRY)
            except Unauthenticated:
                return  # the server is about to close the socket
            else:
                await send({"type": "refresh", "token": token})
