"""FastAPI dependencies: what routes and sockets declare to get a part of the engine."""

from typing import Annotated

from fastapi import Depends
from fastapi.requests import HTTPConnection

from app.realtime.manager import ConnectionManager
from app.realtime.presence import PresenceTracker
from app.realtime.publisher import Publisher as RoomPublisher


async def get_manager(connection: HTTPConnection) -> ConnectionManager:
    manager: ConnectionManager = connection.app.state.manager
    return manager


async def get_publisher(connection: HTTPConnection) -> RoomPublisher:
    publisher: RoomPublisher = connection.app.state.publisher
    return publisher


async def get_presence(connection: HTTPConnection) -> PresenceTracker:
    manager: ConnectionManager = connection.app.state.manager
    return manager.presence


Manager = Annotated[ConnectionManager, Depends(get_manager)]
Publisher = Annotated[RoomPublisher, Depends(get_publisher)]
Presence = Annotated[PresenceTracker, Depends(get_presence)]
