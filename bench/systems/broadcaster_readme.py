"""`broadcaster` as its README uses it: a subscription for each socket, text as it came.

https://github.com/encode/broadcaster#broadcaster
Its redis backend hears nothing with redis-py 8, so the environment has redis-py 7.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from broadcaster import Broadcast
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from serve import BROKER_URL, serve

broadcast = Broadcast(BROKER_URL)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:  # noqa: ARG001
    async with broadcast:
        yield


app = FastAPI(lifespan=lifespan)


@app.websocket("/ws/{room}")
async def chatroom_ws(websocket: WebSocket, room: str) -> None:
    await websocket.accept()
    async with anyio.create_task_group() as task_group:

        async def run_chatroom_ws_receiver() -> None:
            await chatroom_ws_receiver(websocket, room)
            task_group.cancel_scope.cancel()

        task_group.start_soon(run_chatroom_ws_receiver)
        await chatroom_ws_sender(websocket, room)


async def chatroom_ws_receiver(websocket: WebSocket, room: str) -> None:
    try:
        while True:
            await broadcast.publish(channel=room, message=await websocket.receive_text())
    except WebSocketDisconnect:
        return


async def chatroom_ws_sender(websocket: WebSocket, room: str) -> None:
    async with broadcast.subscribe(channel=room) as subscriber:
        async for event in subscriber:
            await websocket.send_text(event.message)


if __name__ == "__main__":
    serve(app)
