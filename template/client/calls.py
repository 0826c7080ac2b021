"""Calls that wait for their answers."""

import asyncio
import secrets

from app.realtime.events import Event, Signal
from client.errors import ClientError, ConnectionLost
from client.messages import JSON, RawEvent

MAX_CALLS = 100
"""Calls that may wait for an answer. Further ones wait for a place."""

Result = Event | Signal | RawEvent | None


class PendingCall:
    def __init__(self, frame: JSON) -> None:
        self.frame = frame
        self.answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.is_sent = False


class Calls:
    """A call is sent once. If the connection is lost after that, nobody knows what it did."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(MAX_CALLS)
        self._calls: dict[str, PendingCall] = {}
        self._error: ClientError | None = None

    async def make(self, event: Event, wake: asyncio.Event) -> Result:
        """Send a call and wait for its answer."""
        async with self._places:
            if self._error is not None:
                raise self._error
            id = secrets.token_hex(16)  # noqa: A001
            data = event.model_dump(mode="json")
            frame = {"type": "call", "id": id, "event": event.__event__, "data": data}
            self._calls[id] = call = PendingCall(frame)
            wake.set()
            try:
                return await call.answer
            finally:
                del self._calls[id]

    def next(self) -> JSON | None:
        """The next call to send, or None. It counts as sent."""
        for call in self._calls.values():
            if not call.is_sent and not call.answer.done():
                call.is_sent = True
                return call.frame
        return None

    def __contains__(self, id: object) -> bool:  # noqa: A002
        return id in self._calls

    def answered(self, id: str, result: Result) -> None:  # noqa: A002
        call = self._calls.get(id)
        if call is not None and not call.answer.done():
            call.answer.set_result(result)

    def rejected(self, id: str, error: ClientError) -> None:  # noqa: A002
        call = self._calls.get(id)
        if call is not None and not call.answer.done():
            call.answer.set_exception(error)

    def unheard(self, id: str) -> None:  # noqa: A002
        """The server did not look at this call: it will be sent again."""
        if id in self._calls:
            self._calls[id].is_sent = False

    def disconnected(self) -> None:
        for id, call in self._calls.items():  # noqa: A001
            if call.is_sent:
                reason = "the connection was lost before the call was answered"
                self.rejected(id, ConnectionLost(reason))

    def end(self, error: ClientError) -> None:
        """No call can be sent any more."""
        self._error = error
        for id in self._calls:  # noqa: A001
            self.rejected(id, error)
