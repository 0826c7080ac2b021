"""Sockets that outlive their endpoint.

While an endpoint runs, everything that FastAPI created for its handshake stays in memory:
the resolved dependencies, their exit stacks, the request's headers and a dozen coroutines.
That is a third of the cost of an idle socket. An endpoint that calls `hand_over` and returns
frees all of it, and `serve` then runs directly under the server.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from fastapi import WebSocket, WebSocketDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Serve = Callable[[Receive, Send], Awaitable[None]]
"""Serves an accepted socket to its end."""

KEY = "app.realtime.server.hand_over"


def hand_over(websocket: WebSocket, serve: Serve) -> None:
    """Have `serve` called once the endpoint has returned, which should be at once."""
    websocket.scope[KEY].append(serve)


class HandOver:
    """The middleware that serves the sockets that were handed over."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        handed_over: list[Serve] = []
        scope[KEY] = handed_over

        async def send_while_open(message: Message) -> None:
            try:
                await send(message)
            except RuntimeError as error:
                # uvicorn closes by itself after an invalid frame, and then refuses to send
                # anything. To an endpoint, the client has disconnected.
                raise WebSocketDisconnect(1006) from error

        try:
            # A client may disconnect at any time, also before its endpoint runs.
            with suppress(WebSocketDisconnect):
                await self._app(scope, receive, send_while_open)
        finally:
            if handed_over:
                scope.clear()  # the server keeps it to the end, and nobody needs it
                scope["type"] = "websocket"
                await handed_over.pop()(receive, send)
