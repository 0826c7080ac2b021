"""How a handshake is accepted."""

from fastapi import WebSocket
from starlette.websockets import WebSocketState

from app.realtime.protocol import SUBPROTOCOL


async def accept(websocket: WebSocket) -> None:
    """Accept a handshake, with this protocol's name if the client offered it.

    One that was accepted already stays as it is.
    """
    if websocket.application_state is WebSocketState.CONNECTING:
        offered = websocket.scope["subprotocols"]
        await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
