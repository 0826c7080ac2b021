"""The `websockets` library alone: its `broadcast()`, on uvloop.

https://websockets.readthedocs.io/en/stable/topics/broadcast.html
"""

import asyncio
import os
from collections import defaultdict

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

rooms: defaultdict[str, set[ServerConnection]] = defaultdict(set)


async def handler(connection: ServerConnection) -> None:
    assert connection.request is not None
    room = rooms[connection.request.path]
    room.add(connection)
    try:
        async for message in connection:
            broadcast(room, message)
    finally:
        room.remove(connection)


async def main() -> None:
    port = int(os.environ["PORT"])
    async with serve(handler, "127.0.0.1", port, compression=None, backlog=2048):
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    uvloop.run(main())
