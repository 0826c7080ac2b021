"""How fast to send."""

import asyncio
import time


class Pace:
    """A token bucket: each message takes one token.

    It must stay below the server's MESSAGES_PER_SECOND (20 unless set otherwise), because the
    server closes the socket of a client that keeps exceeding it.
    """

    def __init__(self, per_second: float) -> None:
        """`per_second` is also the size of a burst. 0 means no limit."""
        self._per_second = per_second
        self._tokens = per_second
        self._filled_at = time.monotonic()

    def start(self) -> None:
        """Nothing has been sent on this connection yet."""
        self._tokens = self._per_second
        self._filled_at = time.monotonic()

    def pause(self, seconds: float) -> None:
        """Send nothing for so many seconds, and no burst after that."""
        self._tokens = 0
        self._filled_at = time.monotonic() + seconds

    async def wait(self) -> None:
        """Wait until a message may be sent."""
        while self._per_second and (missing := 1 - self._fill()) > 0:
            late = max(0.0, self._filled_at - time.monotonic())
            await asyncio.sleep(late + missing / self._per_second)

    def take(self) -> None:
        """A message is being sent."""
        self._tokens -= 1

    def _fill(self) -> float:
        now = time.monotonic()
        if now > self._filled_at:
            gained = (now - self._filled_at) * self._per_second
            self._tokens = min(self._per_second, self._tokens + gained)
            self._filled_at = now
        return self._tokens
