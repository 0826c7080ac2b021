"""How a handshake is accepted."""

from fastapi import WebSocket
from starlette.websockets import WebSocketState

from app.realtime.protocol import SUBPROTOCOL


async def accept(websocket: WebSocket) -> None:
    """Accept a handshake, with the name of this protocol if the client offered it.

    If it was accepted already, nothing happens.
    """
    if websocket.application_state is WebSocketState.CONNECTING:
        offered = websocket.scope["subprotocols"]
        await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
