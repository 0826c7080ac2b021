"""Publishes messages over the connection to NATS, in the order of their submission."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

from nats.aio.msg import Msg

from app.realtime.broker.nats.requests import Outage, Requests, read_answer

IN_FLIGHT = 512
"""Messages that are sent and not yet answered. NATS refuses more than 10,000 for a stream."""

MAX_WAITING = 10_000
"""Messages that wait or are in flight. One more fails at once."""

MAX_UNSENT = 4 * 1024 * 1024
"""Bytes that may wait for the socket."""

SWEEP = 0.05
"""Seconds between two looks for messages whose deadline has passed."""


class Taken(NamedTuple):
    """The stream's answer."""

    sequence: int
    is_duplicate: bool


class Outgoing:
    """A message on its way."""

    def __init__(
        self,
        channel: str,
        subject: str,
        payload: bytes,
        headers: Mapping[str, str] | None,
        deadline: float,
    ) -> None:
        """`headers` are those of a record; a plain string has none.

        `deadline` is a time of the event loop.
        """
        self.channel = channel
        self.subject = subject
        self.payload = payload
        self.headers = headers
        self.deadline = deadline
        self.taken: asyncio.Future[Taken | None] = asyncio.get_running_loop().create_future()
        self.is_settled = False
        self.is_held = False
        self.number: str | None = None
        """That of the request, while the message is in flight."""

    @property
    def is_record(self) -> bool:
        return self.headers is not None


class Publisher:
    """Sends what is submitted, and fails what is not answered before its deadline.

    Records are answered by the stream; of plain strings the server confirms that it has read
    them. A plain string does not go through the stream, where it would overtake the records
    before it. So it waits until they are answered, and what follows it in its channel waits too.
    """

    def __init__(self) -> None:
        self._requests: Requests | None = None
        self._unsettled: dict[Outgoing, None] = {}  # in the order of their deadlines
        self._ready: deque[Outgoing] = deque()
        self._in_flight = 0
        self._records: Counter[str] = Counter()  # ready or in flight, by channel
        self._held: dict[str, deque[Outgoing]] = {}
        self._wake = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send what is submitted, for the length of the block."""
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(self._send()), tasks.create_task(self._sweep())]
            try:
                yield
            finally:
                for task in work:
                    task.cancel()
        for outgoing in list(self._unsettled):
            self._settle(outgoing, ConnectionError("the application disconnects"))

    def use(self, requests: Requests | None) -> None:
        """Send over a new connection; None while there is none."""
        self._requests = requests
        self._wake.set()

    def submit(self, outgoing: Outgoing) -> None:
        """Send a message. `outgoing.taken` gets the answer, or an error of `Outage`."""
        if len(self._unsettled) >= MAX_WAITING:
            outgoing.taken.set_exception(ConnectionError("too many messages wait for NATS"))
            return
        self._unsettled[outgoing] = None
        channel = outgoing.channel
        held = self._held.get(channel)
        if held is not None:
            held.append(outgoing)
            outgoing.is_held = True
        elif not outgoing.is_record and channel in self._records:
            self._held[channel] = deque([outgoing])
            outgoing.is_held = True
        else:
            self._make_ready(outgoing)

    def _make_ready(self, outgoing: Outgoing) -> None:
        if outgoing.is_record:
            self._records[outgoing.channel] += 1
        self._ready.append(outgoing)
        self._wake.set()

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while (requests := self._requests) is not None and self._may_send(requests):
                outgoing = self._ready.popleft()
                if outgoing.is_settled:
                    continue
                if outgoing.taken.cancelled():  # nobody waits for it any more
                    self._settle(outgoing, None)
                    continue
                try:
                    outgoing.number = await self._send_one(requests, outgoing)
                except Outage as error:
                    self._settle(outgoing, error)
                else:
                    self._in_flight += 1

    def _may_send(self, requests: Requests) -> bool:
        return bool(self._ready) and self._in_flight < IN_FLIGHT and requests.unsent < MAX_UNSENT

    async def _send_one(self, requests: Requests, outgoing: Outgoing) -> str:
        on_answer = partial(self._take, outgoing)
        if not outgoing.is_record:
            return await requests.send_and_confirm(outgoing.subject, outgoing.payload, on_answer)
        return await requests.send(outgoing.subject, outgoing.payload, on_answer, outgoing.headers)

    def _take(self, outgoing: Outgoing, answer: Msg | Exception) -> None:
        """Take the answer to a message, or the error that ended the connection."""
        result: Taken | Exception | None
        if isinstance(answer, Exception):
            result = answer
        elif outgoing.is_record:
            try:
                result = read_taken(answer)
            except (*Outage, ValueError, KeyError) as error:
                result = error
        else:
            result = None
        self._settle(outgoing, result)

    async def _sweep(self) -> None:
        """Fail what is not answered in time."""
        clock = asyncio.get_running_loop().time
        while True:
            now = clock()
            late = []
            for outgoing in self._unsettled:
                if outgoing.deadline > now:
                    break
                late.append(outgoing)
            for outgoing in late:
                self._settle(outgoing, TimeoutError("NATS did not answer in time"))
            await asyncio.sleep(SWEEP)

    def _settle(self, outgoing: Outgoing, result: Taken | Exception | None) -> None:
        """Pass on the answer to a message, and let go what waited for it."""
        if outgoing.is_settled:
            return
        outgoing.is_settled = True
        del self._unsettled[outgoing]
        if outgoing.number is not None:
            self._in_flight -= 1
            self._wake.set()
            if self._requests is not None:
                self._requests.forget(outgoing.number)
        if not outgoing.taken.done():
            if isinstance(result, Exception):
                outgoing.taken.set_exception(result)
            else:
                outgoing.taken.set_result(result)
        if outgoing.is_record and not outgoing.is_held:
            self._let_go(outgoing.channel)

    def _let_go(self, channel: str) -> None:
        """Go on in a channel, of which a record is answered."""
        self._records[channel] -= 1
        if self._records[channel]:
            return
        del self._records[channel]
        held = self._held.get(channel)
        while held:
            if not held[0].is_record and channel in self._records:
                return
            outgoing = held.popleft()
            outgoing.is_held = False
            if not outgoing.is_settled:
                self._make_ready(outgoing)
        self._held.pop(channel, None)


def read_taken(answer: Msg) -> Taken:
    """What the stream says of a record. Raises `Refused`."""
    content = read_answer(answer)
    return Taken(int(content["seq"]), bool(content.get("duplicate")))
