"""Does things a few turns of the event loop later, so that more can be done at once."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

logger = logging.getLogger(__name__)

TURNS = 3
"""Turns of the event loop after which something is due.

A turn takes microseconds, and a write to a thousand members milliseconds. What the sockets
and the broker bring in the meantime goes out in the same write.
"""


class Turns:
    """Calls functions, each `TURNS` turns after it was added, in one callback a turn."""

    def __init__(self) -> None:
        self._due: deque[list[Callable[[], None]]] = deque([] for _ in range(TURNS))
        self._is_running = False

    def add(self, function: Callable[[], None]) -> None:
        """Call a function `TURNS` turns from now."""
        self._due[-1].append(function)
        if not self._is_running:
            self._is_running = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        due = self._due.popleft()
        self._due.append([])
        for function in due:
            try:
                function()
            except Exception:
                logger.exception("could not flush")
        self._is_running = any(self._due)
        if self._is_running:
            asyncio.get_running_loop().call_soon(self._turn)
