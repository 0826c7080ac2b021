"""`broadcaster` as books teach it: each socket has a subscription, and parses and encodes.

After the chapter on WebSockets of F. Voron, "Building Data Science Applications with
FastAPI". Two things differ: its tasks last as long as the socket (the book starts both
anew after each message, and loses what comes in between), and the sender gets its own
message too. broadcaster's redis backend hears nothing with redis-py 8, so the
environment has redis-py 7.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from broadcaster import Broadcast
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from pydantic import BaseModel
from serve import BROKER_URL, serve

broadcast = Broadcast(BROKER_URL)


class MessageEvent(BaseModel):
    username: str
    message: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:  # noqa: ARG001
    async with broadcast:
        yield


app = FastAPI(lifespan=lifespan)


async def receive_message(websocket: WebSocket, room: str) -> None:
    async with broadcast.subscribe(channel=room) as subscriber:
        async for event in subscriber:
            message_event = MessageEvent.model_validate_json(event.message)
            await websocket.send_json(message_event.model_dump())


async def send_message(websocket: WebSocket, room: str, username: str) -> None:
    while True:
        data = await websocket.receive_text()
        event = MessageEvent(username=username, message=data)
        await broadcast.publish(channel=room, message=event.model_dump_json())


@app.websocket("/ws/{room}")
async def websocket_endpoint(websocket: WebSocket, room: str, username: str = "Anonymous") -> None:
    await websocket.accept()
    tasks = {
        asyncio.create_task(receive_message(websocket, room)),
        asyncio.create_task(send_message(websocket, room, username)),
    }
    try:
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        for task in done:
            task.result()
    except WebSocketDisconnect:
        pass


if __name__ == "__main__":
    serve(app)
