"""Appends entries to the log, and waits until this worker has read them."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from app.realtime.broker.base import PUBLISH_DEADLINE, BrokerUnavailable
from app.realtime.broker.log.base import Draft, EntryRefused, LogConnection, LogUnavailable
from app.realtime.broker.log.entry import CANARY, Stamp, encode, stamp_of
from app.realtime.broker.log.partition import Partition
from app.realtime.protocol import Position

AT_ONCE = 256
"""Entries that are appended together, and"""

BYTES_AT_ONCE = 2**21
"""about how many bytes they may have."""

TURNS = 3
"""Turns of the event loop for which the first entry waits for others."""

MAX_WAITING = 10_000
"""Entries that may wait for their answer; one more fails at once."""

Answer = asyncio.Future[Position | None]


class Pending(NamedTuple):
    """An entry whose publisher waits for the answer."""

    number: int
    kind: int
    channel_hash: int
    body: bytes
    answer: Answer
    expires_at: float


class Writer:
    """Appends in the order of submission. What is not read back in time fails."""

    def __init__(self, worker: bytes, log_name: str) -> None:
        """`worker` is unique, and has 8 bytes."""
        self._worker = worker
        self._log_name = log_name
        self._count = 0
        self._pending: dict[int, Pending] = {}
        """By number, those that expire first come first."""
        self._waiting: deque[Pending] = deque()
        """Those that are not appended yet."""
        self._canaries: deque[tuple[int, Stamp]] = deque()
        self._something_waits = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    # --- Publishers -------------------------------------------------------------------

    def submit(self, kind: int, channel_hash: int, body: bytes) -> Answer:
        """Append an entry. The future gets the answer of `Backend.publish`."""
        loop = asyncio.get_running_loop()
        answer: Answer = loop.create_future()
        if len(self._pending) >= MAX_WAITING:
            answer.set_exception(self._unavailable("too many messages wait"))
            return answer
        self._count += 1
        expires_at = loop.time() + PUBLISH_DEADLINE
        pending = Pending(self._count, kind, channel_hash, body, answer, expires_at)
        self._pending[self._count] = pending
        self._waiting.append(pending)
        self._something_waits.set()
        if self._timer is None:
            self._timer = loop.call_at(expires_at, self._expire)
        return answer

    def resolve(self, stamp: Stamp, position: Position | None) -> None:
        """An entry was read: answer its publisher, if that is one of this worker."""
        if stamp[:8] == self._worker:
            pending = self._pending.pop(int.from_bytes(stamp[8:]), None)
            if pending is not None and not pending.answer.done():
                pending.answer.set_result(position)

    def fail(self, stamp: Stamp, error: Exception) -> None:
        """An entry was refused: tell its publisher, if that is one of this worker."""
        if stamp[:8] == self._worker:
            pending = self._pending.pop(int.from_bytes(stamp[8:]), None)
            if pending is not None and not pending.answer.done():
                pending.answer.set_exception(error)

    def close(self) -> None:
        """Answer everybody who still waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting.clear()
        for number in list(self._pending):
            self.fail(stamp_of(self._worker, number), self._unavailable("the connection is closed"))

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        for number, pending in list(self._first_pending(loop.time())):
            self.fail(
                stamp_of(self._worker, number), self._unavailable("it was not confirmed in time")
            )
            if self._waiting and self._waiting[0] is pending:
                self._waiting.popleft()
        first = next(iter(self._pending.values()), None)
        if first is not None:
            self._timer = loop.call_at(first.expires_at, self._expire)

    def _first_pending(self, now: float) -> Iterator[tuple[int, Pending]]:
        for number, pending in self._pending.items():
            if pending.expires_at > now:
                return
            yield number, pending

    def _unavailable(self, why: str) -> BrokerUnavailable:
        return BrokerUnavailable(f"{self._log_name} did not take the message: {why}")

    # --- The log ------------------------------------------------------------------------

    def canary(self, partition: Partition) -> Stamp:
        """Append a canary to a partition."""
        self._count += 1
        stamp = stamp_of(self._worker, self._count)
        self._canaries.append((partition.number, stamp))
        self._something_waits.set()
        return stamp

    def is_own(self, stamp: Stamp) -> bool:
        return stamp[:8] == self._worker

    async def send(
        self, connection: LogConnection, partitions: Sequence[Partition], ready: asyncio.Event
    ) -> None:
        """Append what waits: canaries at once, and everything else while `ready` is set.

        Raises LogUnavailable.
        """
        while True:
            await self._something_waits.wait()
            for _ in range(TURNS):
                await asyncio.sleep(0)
            batch = [(stamp, partition, CANARY, b"") for partition, stamp in self._canaries]
            self._canaries.clear()
            if ready.is_set():
                batch += self._next_batch(len(partitions))
            if not ready.is_set() or not self._waiting:
                self._something_waits.clear()
            if not batch:
                continue
            drafts = [
                Draft(
                    number,
                    encode(kind, stamp, len(partitions), partitions[number].claim, body),
                )
                for stamp, number, kind, body in batch
            ]
            try:
                async with asyncio.timeout(PUBLISH_DEADLINE):
                    results = await connection.append(drafts)
            except TimeoutError:
                raise LogUnavailable("it does not confirm entries in time") from None
            for (stamp, _, _, _), result in zip(batch, results, strict=True):
                if isinstance(result, EntryRefused):
                    self.fail(stamp, self._unavailable(str(result)))

    def wake(self) -> None:
        """Look again at what waits."""
        self._something_waits.set()

    def forget_canaries(self) -> None:
        """Those of an earlier connection are of no use."""
        self._canaries.clear()

    def _next_batch(self, partitions: int) -> list[tuple[Stamp, int, int, bytes]]:
        """What to append next, without entries that nobody waits for or that are too late."""
        latest = asyncio.get_running_loop().time() + PUBLISH_DEADLINE / 2
        batch: list[tuple[Stamp, int, int, bytes]] = []
        size = 0
        while self._waiting and len(batch) < AT_ONCE and size < BYTES_AT_ONCE:
            pending = self._waiting.popleft()
            stamp = stamp_of(self._worker, pending.number)
            if pending.answer.done():
                self._pending.pop(pending.number, None)
            elif pending.expires_at < latest:
                self.fail(stamp, self._unavailable("it could not be sent in time"))
            else:
                number = pending.channel_hash % partitions
                batch.append((stamp, number, pending.kind, pending.body))
                size += len(pending.body)
        return batch
