"""Hashes and checks passwords with argon2.

A hash takes about 50 ms of a core and 64 MiB, on purpose. So hashes are computed in
threads, a few at a time, and only so many wait for their turn.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import HTTPException, status
from pwdlib import PasswordHash

HASHES_AT_ONCE = 4

MAX_WAITING = 100
"""Hashes that may wait for their turn, which takes them a few seconds."""

RETRY_AFTER = 5
"""Seconds that a client is asked to wait when too many hashes wait."""


class TooManyHashes(HTTPException):
    """HTTP 503: too many logins and registrations at the same time."""

    def __init__(self) -> None:
        super().__init__(
            status.HTTP_503_SERVICE_UNAVAILABLE,
            "Too many people log in or register at the moment: try again.",
            {"Retry-After": str(RETRY_AFTER)},
        )


class PasswordHasher:
    """The hashes of one process."""

    def __init__(self) -> None:
        self._passwords = PasswordHash.recommended()
        self._running = asyncio.Semaphore(HASHES_AT_ONCE)
        self._waiting = 0
        # Of a password that nobody knows. Checking it takes as long as checking a real one.
        self._nobodys_hash = self._passwords.hash(secrets.token_bytes())

    async def hash(self, password: bytes) -> str:
        """The hash of a new password. Raises TooManyHashes."""
        async with self._turn():
            return await asyncio.to_thread(self._passwords.hash, password)

    async def verify(self, password: bytes, hash: str | None) -> tuple[bool, str | None]:  # noqa: A002
        """Whether a password is right. Raises TooManyHashes.

        Also returns a new hash if this one was made with outdated parameters. Without a
        hash, the answer is no, and takes as long.
        """
        async with self._turn():
            return await asyncio.to_thread(
                self._passwords.verify_and_update, password, hash or self._nobodys_hash
            )

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._waiting >= MAX_WAITING:
            raise TooManyHashes
        self._waiting += 1
        try:
            await self._running.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._running.release()
