"""`/ws`: rooms, events and calls, any number of them on one socket."""

from typing import Annotated

from fastapi import APIRouter, Depends, WebSocket

from app.realtime.authentication import Authentication
from app.realtime.connection import Connection
from app.realtime.identity import User
from app.realtime.limits import ConnectionLimits
from app.realtime.origin import check_origin
from app.realtime.server.hand_over import hand_over
from app.realtime.server.handshake import accept
from app.realtime.visit import Visit, Visits


def make_router(authentication: Authentication) -> APIRouter:
    """The route, for one style of authentication."""
    router = APIRouter(dependencies=[Depends(check_origin)])

    @router.websocket("/ws")
    async def realtime(
        websocket: WebSocket, user: Annotated[User, Depends(authentication.authenticate)]
    ) -> None:
        # Not as dependencies: resolving each takes time, and most requests are handshakes.
        visits: Visits = websocket.app.state.visits
        limits: ConnectionLimits = websocket.app.state.connection_limits
        with limits.admit(websocket.client and websocket.client.host, user.id) as admission:
            await accept(websocket)
            connection = Connection(user, visits.settings)
            admission.outlive_block()
        hand_over(websocket, Visit(visits, connection, admission))

    return router
