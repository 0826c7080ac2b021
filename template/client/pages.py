"""Requests for older messages of a room: one at a time, since answers bear no id."""

import asyncio
import contextlib
from collections.abc import Callable

from client.errors import ClientError
from client.messages import JSON, Page


class PageRequest:
    def __init__(self, frame: JSON) -> None:
        self.frame = frame
        self.answer: asyncio.Future[Page] = asyncio.get_running_loop().create_future()
        self.is_sent = False
        self.is_doubtful = False
        """Whether the server may not have looked at it. The answer to a ping tells."""


class Pages:
    """Asks for pages, again after a reconnect and when the server had no time."""

    def __init__(self, room: str, wake: Callable[[], None]) -> None:
        self._room = room
        self._wake = wake
        self._turn = asyncio.Lock()
        self._request: PageRequest | None = None
        self._not_before = 0.0
        self._error: ClientError | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is due."""
        return self._request is not None and self._request.is_sent

    @property
    def needs_ping(self) -> bool:
        return self._request is not None and self._request.is_doubtful

    async def get(self, before: int | None, limit: int) -> Page:
        """A page of at most `limit` messages before an offset, or of the newest ones."""
        async with self._turn:
            await self._finish_abandoned()
            if self._error is not None:
                raise self._error
            frame: JSON = {"type": "history", "room": self._room, "limit": limit}
            if before is not None:
                frame["before"] = before
            request = self._request = PageRequest(frame)
            self._wake()
            try:
                return await asyncio.shield(request.answer)
            finally:
                if request.answer.done() or not request.is_sent:
                    self._request = None

    async def _finish_abandoned(self) -> None:
        """Wait for the answer to a request whose caller was cancelled."""
        if self._request is not None:
            with contextlib.suppress(ClientError):
                await asyncio.shield(self._request.answer)
            self._request = None

    def next(self) -> JSON | None:
        """The request to send, or None. It counts as sent."""
        request = self._request
        if request is None or request.is_sent or request.answer.done():
            return None
        loop = asyncio.get_running_loop()
        if loop.time() < self._not_before:
            return None
        request.is_sent = True
        return request.frame

    def postpone(self, seconds: float) -> None:
        """The server did not carry out the request: send it again after so many seconds."""
        if self._request is None:
            return
        loop = asyncio.get_running_loop()
        self._not_before = loop.time() + seconds
        self._request.is_sent = self._request.is_doubtful = False
        loop.call_later(seconds, self._wake)

    def doubt(self) -> None:
        """The server did not look at something: it may have been the request."""
        if self.is_waiting and self._request is not None:
            self._request.is_doubtful = True

    def ponged(self) -> None:
        """The server has answered everything before this. It answers in order."""
        if self.needs_ping:
            self.postpone(0)

    def disconnected(self) -> None:
        if self._request is not None:
            self._request.is_sent = self._request.is_doubtful = False

    def answered(self, page: Page) -> None:
        request = self._request
        if request is None or not request.is_sent or request.answer.done():
            return
        before = request.frame.get("before")
        if before is None or all(message.offset < before for message in page.messages):
            request.answer.set_result(page)

    def rejected(self, error: ClientError) -> None:
        """The server can't answer the request."""
        if self._request is not None and not self._request.answer.done():
            self._request.answer.set_exception(error)
            self._request.answer.exception()  # the caller may have been cancelled

    def reopen(self) -> None:
        """Pages can be had again."""
        self._error = None

    def fail(self, error: ClientError) -> None:
        """No page can be had any more."""
        self._error = error
        self.rejected(error)
