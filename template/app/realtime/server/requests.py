"""uvicorn's HTTP protocol, extended by limits for requests that arrive slowly or never end.

uvicorn limits neither the time that a request may take to arrive nor the size of its
headers. A client that sends a byte now and then would keep its connection, and one that
never ends its headers would fill the memory. Handshakes are requests too.

`python -m app` serves with this class. It depends on internals of uvicorn, so
pyproject.toml allows a narrow range of versions, and `tests/engine/server/test_requests.py`
fails when they change.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

REQUEST_SECONDS = 20.0
"""Seconds in which a request has to arrive completely, with its body."""

MAX_HEAD_BYTES = 65536
"""The largest request line and headers together, give or take one read.

The same limit holds between two parts of a body, and for trailers.
"""


class BoundedRequestsProtocol(HttpToolsProtocol):
    """The protocol of one connection until it becomes a socket, if it does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._is_in_head = True
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deadline is None:
            self._expect_request()
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes <= MAX_HEAD_BYTES or self.transport.is_closing():
            return
        if self._is_in_head:
            self.send_400_response("The headers are too large.")
        else:  # it may be answered already
            self.transport.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:  # otherwise it is a trailer, and a body may have any number of them
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._head_bytes = 0
        if not self.url.isascii():
            raise ValueError("no URL")  # answered with HTTP 400
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._stop_waiting()
        self._is_in_head = True
        self._head_bytes = 0
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        # The protocol and its parser refer to each other. uvicorn separates them when the
        # connection is lost, but then tells the protocol of the socket, not this one.
        self.parser = None  # type: ignore[assignment]

    def _expect_request(self) -> None:
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        cycle = self.cycle
        is_answering = cycle is not None and not (cycle.response_complete or cycle.more_body)
        if not is_answering:  # otherwise the connection is idle afterwards, and uvicorn ends it
            self.transport.close()
