"""python-socketio: its rooms, with its memory or its Redis client manager.

https://python-socketio.readthedocs.io/en/stable/server.html
"""

import socketio
from serve import BROKER_URL, serve

manager = socketio.AsyncRedisManager(BROKER_URL) if BROKER_URL.startswith("redis") else None
server = socketio.AsyncServer(async_mode="asgi", client_manager=manager)


@server.event
async def join(sid: str, room: str) -> None:
    """The client is told that it has joined by the acknowledgement."""
    await server.enter_room(sid, room)


@server.event
async def publish(sid: str, room: str, text: str) -> None:  # noqa: ARG001
    await server.emit("message", text, room=room)


if __name__ == "__main__":
    serve(socketio.ASGIApp(server))
