"""Finds out whether the server still answers."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

ANSWER = 5.0
"""Seconds that a server may take to answer a ping after something else went unanswered."""


class Heartbeat:
    """Sends `ping` after a silence, and when it is asked to. One ping at a time."""

    def __init__(self, seconds: float, send_ping: Callable[[], Awaitable[None]]) -> None:
        """After `seconds` without a message, a ping is sent. 0 means never."""
        self._seconds = seconds
        self._send_ping = send_ping
        self._heard_at = asyncio.get_running_loop().time()
        self._is_due = asyncio.Event()
        self._ponged = asyncio.Event()
        self._is_waiting = False

    def heard(self) -> None:
        """The server has sent something. It does not show that it reads what it is sent."""
        self._heard_at = asyncio.get_running_loop().time()

    def ponged(self) -> None:
        """The server has answered the ping."""
        self._ponged.set()

    def check(self) -> None:
        """Send a ping now, unless the answer to one is due."""
        if not self._is_waiting:
            self._is_due.set()

    async def run(self) -> None:
        """Watch the connection. Raises TimeoutError when the server does not answer."""
        while True:
            patience = await self._silence()
            self._is_due.clear()
            self._ponged.clear()
            self._is_waiting = True
            async with asyncio.timeout(patience):
                await self._send_ping()
            await self._answer(patience)
            self._is_waiting = False

    async def _silence(self) -> float:
        """Wait until a ping is due. Returns the seconds that its answer may take."""
        while True:
            left = self._left(self._seconds) if self._seconds else None
            if left is not None and left <= 0:
                return self._seconds
            if await happens(self._is_due, left):
                return ANSWER

    async def _answer(self, patience: float) -> None:
        """Wait for the answer, which comes after everything that was sent before."""
        self.heard()
        while not await happens(self._ponged, left := self._left(patience)):
            if left <= 0:
                raise TimeoutError

    def _left(self, seconds: float) -> float:
        """Seconds until so many have passed without a message."""
        return self._heard_at + seconds - asyncio.get_running_loop().time()


async def happens(event: asyncio.Event, seconds: float | None) -> bool:
    """Whether an event happens within so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
