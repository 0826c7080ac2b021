"""`/ws`: rooms, any number of them on one socket."""

from fastapi import APIRouter, Depends, WebSocket

from app.auth import CurrentUser
from app.auth.origin import check_origin
from app.connection import Connection, accept
from app.limits import Limits
from app.manager import ConnectionManager, Manager
from app.protocol import ClientMessage, Join, Leave, Ping, Pong, Publish, Welcome
from app.settings import Settings

router = APIRouter(dependencies=[Depends(check_origin)])


@router.websocket("/ws")
async def realtime(
    websocket: WebSocket, user: CurrentUser, manager: Manager, limits: Limits
) -> None:
    """Serve one client."""
    settings: Settings = websocket.app.state.settings
    with limits.admit(websocket.client and websocket.client.host, user.name):
        await accept(websocket)
        connection = Connection(websocket, user, settings)
        connection.send(
            Welcome(connection=connection.id, user=user.name, heartbeat=settings.ping_interval)
        )
        await serve(connection, manager)


async def serve(connection: Connection, manager: ConnectionManager) -> None:
    """Carry out what the client asks for, until the socket ends."""

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

    try:
        await connection.serve(handle)
    finally:
        await manager.disconnect(connection)
    await connection.send_close()
