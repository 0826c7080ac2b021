"""What clients may have replayed to them from history: bytes a second, and bytes in memory."""

import math
from collections import OrderedDict

from app.realtime.connection import Connection
from app.realtime.limits import Budget
from app.realtime.protocol import CloseCode, Error

BURST = 8 * 1024 * 1024
"""Bytes that a user may have replayed at once."""

RESERVED = 64 * 1024
"""Bytes that a request costs until its size is known.

Otherwise one user could ask on many connections at the same time.
"""

MAX_WAITING = 128 * 1024 * 1024
"""About how many bytes of replays may wait on this worker for clients that don't take them."""


class Replays:
    """Counts what is replayed to each user of this worker, on all connections together.

    A client that asks again and again for what it could have kept costs the server a
    hundred times what it sends. One that was away for a moment stays far below the limit.
    """

    def __init__(self, bytes_per_second: int) -> None:
        """0 bytes a second means no limit."""
        self._per_second = bytes_per_second
        self._budgets: OrderedDict[str, Budget] = OrderedDict()  # those that are not full
        self._waiting: set[Connection] = set()
        self._unchecked = 0
        """Bytes of replays since all that waits was added up."""

    def reserve(self, connection: Connection, room: str) -> bool:
        """Count a request. If it comes too early, answer `rate_limited` and return False."""
        if not self._per_second:
            return True
        user = connection.user.id
        budget = self._budget(user)
        seconds = budget.wait()
        if seconds:
            detail = f"too much history was asked for: try again in {math.ceil(seconds)} s"
            connection.send(Error(code="rate_limited", detail=detail, room=room))
            return False
        budget.spend(RESERVED)
        self._budgets.move_to_end(user)
        return True

    def settle(self, connection: Connection, size: int) -> None:
        """Replace what was reserved by the bytes that the answer had."""
        if self._per_second:
            self._budget(connection.user.id).spend(size - RESERVED)
        if connection.replay_bytes:
            self._waiting.add(connection)
            self._unchecked += size
            if self._unchecked > MAX_WAITING // 16:  # to look at all of them takes a while
                self._unchecked = 0
                self._drop_the_largest()

    def forget(self, connection: Connection) -> None:
        """The connection has ended."""
        self._waiting.discard(connection)

    def _budget(self, user: str) -> Budget:
        budget = self._budgets.get(user)
        if budget is None:
            self._forget_full()
            budget = self._budgets[user] = Budget(self._per_second, BURST)
        return budget

    def _forget_full(self) -> None:
        """Forget the budgets of those who have not asked for a while."""
        while self._budgets:
            user, budget = next(iter(self._budgets.items()))
            if not budget.is_full:
                return
            del self._budgets[user]

    def _drop_the_largest(self) -> None:
        """Close the client for which most waits, if it is too much for all together."""
        self._waiting = {it for it in self._waiting if it.replay_bytes}
        while sum(it.replay_bytes for it in self._waiting) > MAX_WAITING:
            largest = max(self._waiting, key=lambda it: it.replay_bytes)
            largest.close(CloseCode.TRY_AGAIN_LATER, "too slow")
            self._waiting.discard(largest)
