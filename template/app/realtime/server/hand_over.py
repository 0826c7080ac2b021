"""Sockets that outlive their endpoint.

While an endpoint runs, everything that FastAPI created for its handshake stays in memory:
the resolved dependencies, their exit stacks, the request's headers and a dozen coroutines.
That is a third of the cost of an idle socket. An endpoint that calls `hand_over` and returns
frees all of it. From then on the server passes frames straight to the receiver, and not
even a task waits for them; a server that can't do that serves it through ASGI.
"""

from contextlib import suppress

from fastapi import WebSocket, WebSocketDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.realtime.server.asgi import serve
from app.realtime.server.frames import EXTENSION, PrebuiltFramesProtocol
from app.realtime.server.interface import Receiver

KEY = "app.realtime.server.hand_over"


def hand_over(websocket: WebSocket, receiver: Receiver) -> None:
    """Start `receiver` once the endpoint has returned, which should be at once."""
    websocket.scope[KEY].append(receiver)


class HandOver:
    """The middleware that serves the sockets that were handed over."""

    def __init__(self, app: ASGIApp, close_timeout: float | None) -> None:
        """`close_timeout`: seconds that a client has to take a close frame; None: any."""
        self._app = app
        self._close_timeout = close_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        handed_over: list[Receiver] = []
        scope[KEY] = handed_over

        async def send_while_open(message: Message) -> None:
            try:
                await send(message)
            except RuntimeError as error:
                # uvicorn closes by itself after an invalid frame, and then refuses to send
                # anything. To an endpoint, the client has disconnected.
                raise WebSocketDisconnect(1006) from error

        protocol: PrebuiltFramesProtocol | None = scope.get("extensions", {}).get(EXTENSION)
        try:
            # A client may disconnect at any time, also before its endpoint runs.
            with suppress(WebSocketDisconnect):
                await self._app(scope, receive, send_while_open)
        finally:
            if handed_over:
                scope.clear()  # the server keeps it to the end, and nobody needs it
                scope["type"] = "websocket"
                if protocol is not None:
                    protocol.attach(handed_over.pop())
                else:
                    await serve(handed_over.pop(), receive, send, self._close_timeout)
