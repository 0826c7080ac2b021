"""`/ws/echo`: a small socket beside `/ws`.

Frames come back as they were sent, and the server sends the time every few seconds: two
tasks on one socket. Path, query, header and cookie are read as in an HTTP route, here by a
dependency.
"""

import asyncio
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Cookie, Depends, Header, Path, Query, WebSocket

from app.auth import CurrentUser
from app.realtime import Socket, check_origin, open_socket

router = APIRouter(dependencies=[Depends(check_origin)])


@dataclass
class Options:
    """What a client may say when it connects to `/ws/echo/{label}`."""

    label: Annotated[str, Path(max_length=64)]
    every: Annotated[float, Query(ge=0.1, le=3600, description="seconds")] = 5
    accept_language: Annotated[str | None, Header(max_length=256)] = None
    theme: Annotated[str | None, Cookie(max_length=64)] = None


@router.websocket("/ws/echo")
async def echo(websocket: WebSocket, user: CurrentUser) -> None:
    """Echo, without options."""
    async with open_socket(websocket, user) as socket:
        await serve(socket, every=5)


@router.websocket("/ws/echo/{label}")
async def labelled_echo(
    websocket: WebSocket, user: CurrentUser, options: Annotated[Options, Depends()]
) -> None:
    """Echo, after a frame that repeats the options."""
    async with open_socket(websocket, user) as socket:
        await socket.send_json({"type": "options", **asdict(options)})
        await serve(socket, options.every)


async def serve(socket: Socket, every: float) -> None:
    """Return every frame, and send the time every so many seconds."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(send_time(socket, every))
        while True:  # until the client disconnects
            await socket.send(await socket.receive())


async def send_time(socket: Socket, every: float) -> None:
    while True:
        await asyncio.sleep(every)
        await socket.send_json({"type": "time", "time": datetime.now(UTC).isoformat()})
