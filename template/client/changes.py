"""Tells any number of tasks that something has changed, without a queue."""

import asyncio
from collections.abc import AsyncIterator


class Changes:
    """Several changes that come while nobody looks count as one."""

    def __init__(self) -> None:
        self._version = 0
        self._next = asyncio.Event()

    def tell(self) -> None:
        """Something has changed."""
        self._version += 1
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self) -> None:
        """Wait for the next change."""
        await self._next.wait()

    async def follow(self) -> AsyncIterator[None]:
        """Yield once, and again after changes."""
        seen = -1
        while True:
            if seen == self._version:
                await self.wait()
            seen = self._version
            yield
