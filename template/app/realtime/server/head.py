"""Answers HEAD wherever GET is answered (RFC 9110 section 9.3.2), also in routes of FastAPI."""

from collections.abc import Awaitable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NOT_TAKEN = {404, 405}
"""The status codes with which routes answer a HEAD that they don't take."""


class HeadRequests:
    """The middleware that answers HEAD with the headers of the answer to GET.

    A route that takes HEAD itself, as mounted files do, comes first.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    # Not a coroutine, because it would stay in memory as long as its socket.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self._app(scope, receive, send)
        send = allow_head(send)
        if scope["method"] == "HEAD":
            return self._answer(scope, receive, send)
        return self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_taken = True

        async def send_if_taken(message: Message) -> None:
            nonlocal is_taken
            if message["type"] == "http.response.start":
                is_taken = message["status"] not in NOT_TAKEN
            if is_taken:
                await send(message)

        await self._app({**scope}, receive, send_if_taken)
        if not is_taken:
            await self._app({**scope, "method": "GET"}, receive, without_body(send))


def without_body(send: Send) -> Send:
    """Send the headers of a response and end it, as if its body were empty."""
    has_ended = False

    async def send_headers(message: Message) -> None:
        nonlocal has_ended
        if message["type"] == "http.response.start":
            await send(message)
        elif not has_ended:
            # The server tells a route that it has ended, so a stream stops here.
            has_ended = True
            await send({"type": "http.response.body", "body": b""})

    return send_headers


def allow_head(send: Send) -> Send:
    """Add HEAD to the methods that a response with status 405 names, if GET is one of them."""

    async def send_allowing_head(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 405:
            headers = MutableHeaders(scope=message)
            allowed = [method.strip() for method in headers.get("Allow", "").split(",")]
            if "GET" in allowed and "HEAD" not in allowed:
                headers["Allow"] = ", ".join([*allowed, "HEAD"])
        await send(message)

    return send_allowing_head
