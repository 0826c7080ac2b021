"""`/ws`: rooms, any number of them on one socket."""

from fastapi import APIRouter, Depends, WebSocket
from starlette.types import Receive, Send

from app.auth import CurrentUser
from app.auth.origin import check_origin
from app.connection import Connection, accept
from app.hand_over import hand_over
from app.limits import ConnectionLimits
from app.manager import ConnectionManager
from app.protocol import ClientMessage, Join, Leave, Ping, Pong, Publish, Welcome
from app.settings import Settings
from app.writer import prebuilt_writer

router = APIRouter(dependencies=[Depends(check_origin)])


@router.websocket("/ws")
async def realtime(websocket: WebSocket, user: CurrentUser) -> None:
    """Let one client in."""
    # Not as dependencies: resolving each takes time, and most requests are handshakes.
    settings: Settings = websocket.app.state.settings
    manager: ConnectionManager = websocket.app.state.manager
    limits: ConnectionLimits = websocket.app.state.connection_limits
    with limits.admit(websocket.client and websocket.client.host, user.name) as admission:
        await accept(websocket)
        connection = Connection(user, settings, prebuilt_writer(websocket))
        admission.outlive_block()

    async def handle(message: ClientMessage) -> None:
        match message:
            case Join():
                await manager.join(connection, message)
            case Leave():
                await manager.leave(connection, message.room)
            case Publish():
                await manager.publish(connection, message)
            case Ping():
                connection.send(Pong())

    async def serve(receive: Receive, send: Send) -> None:
        connection.send(
            Welcome(connection=connection.id, user=user.name, heartbeat=settings.ping_interval)
        )
        try:
            await connection.serve(receive, send, handle)
        finally:
            admission.release()
            await manager.disconnect(connection)
        await connection.send_close()

    hand_over(websocket, serve)
