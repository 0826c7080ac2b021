"""Sockets that outlive their endpoint.

While an endpoint runs, everything that FastAPI made for its handshake stays: the
resolved dependencies, their exit stacks, the request's headers and a dozen coroutines,
a third of what an idle socket costs. An endpoint that calls `hand_over` and returns is
done with all that; what serves the socket from then on runs right under the server.
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
    """The middleware that serves what was handed over."""

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
                # uvicorn closes by itself for a frame that is none, and then takes neither
                # frames nor another close. To an endpoint that is a peer that left.
                raise WebSocketDisconnect(1006) from error

        try:
            # A peer may leave at any time, also before its endpoint looks.
            with suppress(WebSocketDisconnect):
                await self._app(scope, receive, send_while_open)
        finally:
            if handed_over:
                scope.clear()  # the server holds it to the end, and nobody asks for it
                scope["type"] = "websocket"
                await handed_over.pop()(receive, send)
