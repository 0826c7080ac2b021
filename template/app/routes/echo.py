"""`/ws/echo`: the smallest endpoint that shows how to write one.

Frames come back as they went, and the server sends the time on its own: two tasks
on one socket. Path, query, header and cookie are read as in any HTTP route, here by
a dependency.
"""

import asyncio
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Cookie, Depends, Header, Path, Query, WebSocket, WebSocketDisconnect

from app.auth import CurrentUser
from app.auth.origin import check_origin
from app.connection import accept
from app.limits import Limits, RateLimit, Verdict
from app.metrics import CLOSED, RATE_LIMITED
from app.protocol import CloseCode, Error, Welcome
from app.settings import Settings

router = APIRouter(dependencies=[Depends(check_origin)])


@dataclass
class Options:
    """What a client may say of itself when it connects to `/ws/echo/{label}`."""

    label: Annotated[str, Path(max_length=64)]
    every: Annotated[float, Query(ge=0.1, le=3600, description="seconds")] = 5
    accept_language: Annotated[str | None, Header(max_length=256)] = None
    theme: Annotated[str | None, Cookie(max_length=64)] = None


@router.websocket("/ws/echo")
async def echo(websocket: WebSocket, user: CurrentUser, limits: Limits) -> None:
    """Echo, without options."""
    with limits.admit(websocket.client and websocket.client.host, user.name):
        await serve(websocket, user.name, every=5)


@router.websocket("/ws/echo/{label}")
async def labelled_echo(
    websocket: WebSocket,
    user: CurrentUser,
    limits: Limits,
    options: Annotated[Options, Depends()],
) -> None:
    """Echo, after a frame that repeats the options."""
    with limits.admit(websocket.client and websocket.client.host, user.name):
        await serve(websocket, user.name, options.every, {"type": "options", **asdict(options)})


async def serve(
    websocket: WebSocket, user: str, every: float, first: dict[str, object] | None = None
) -> None:
    """Return every frame, and send the time every so many seconds, until the peer leaves."""
    settings: Settings = websocket.app.state.settings
    await accept(websocket)
    try:
        welcome = Welcome(connection=secrets.token_hex(8), user=user, heartbeat=0)
        await websocket.send_text(welcome.model_dump_json())
        if first is not None:
            await websocket.send_json(first)
        async with asyncio.TaskGroup() as tasks:
            clock = tasks.create_task(send_time(websocket, every))
            is_abuser = await return_frames(websocket, RateLimit(settings.messages_per_second))
            clock.cancel()
        if is_abuser:
            CLOSED.labels("abuse").inc()
            await websocket.close(CloseCode.POLICY_VIOLATION, "too many messages")
    except* WebSocketDisconnect:
        pass  # the peer left while a frame was on its way


async def return_frames(websocket: WebSocket, rate: RateLimit) -> bool:
    """Echo until the peer leaves, or, which is returned, sends far too much."""
    while True:
        frame = await websocket.receive()
        if frame["type"] == "websocket.disconnect":
            return False
        verdict = rate.take()
        if verdict is Verdict.ABUSE:
            return True
        if verdict is Verdict.REFUSE:
            RATE_LIMITED.inc()
            error = Error(code="rate_limited", detail="too many messages: slow down")
            await websocket.send_text(error.model_dump_json(exclude_none=True))
        elif frame.get("text") is not None:
            await websocket.send_text(frame["text"])
        else:
            await websocket.send_bytes(frame["bytes"])


async def send_time(websocket: WebSocket, every: float) -> None:
    while True:
        await asyncio.sleep(every)
        await websocket.send_json({"type": "time", "time": datetime.now(UTC).isoformat()})
