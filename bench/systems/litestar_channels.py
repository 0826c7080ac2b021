"""Litestar's channels plugin, with its memory or its Redis pub/sub backend.

https://docs.litestar.dev/2/usage/channels.html
"""

from typing import Any

from litestar import Litestar, WebSocket, websocket
from litestar.channels import ChannelsPlugin
from litestar.channels.backends.memory import MemoryChannelsBackend
from litestar.channels.backends.redis import RedisChannelsPubSubBackend
from litestar.exceptions import WebSocketDisconnect
from redis.asyncio import Redis
from serve import BROKER_URL, serve


@websocket("/ws/{room:str}")
async def handler(socket: WebSocket[Any, Any, Any], room: str, channels: ChannelsPlugin) -> None:
    await socket.accept()
    async with (
        channels.start_subscription([room]) as subscriber,
        subscriber.run_in_background(socket.send_text, join=False),
    ):
        try:
            while True:
                channels.publish(await socket.receive_text(), room)
        except WebSocketDisconnect:
            return


def create_app() -> Litestar:
    backend = (
        RedisChannelsPubSubBackend(redis=Redis.from_url(BROKER_URL))
        if BROKER_URL.startswith("redis")
        else MemoryChannelsBackend()
    )
    plugin = ChannelsPlugin(backend=backend, arbitrary_channels_allowed=True)
    return Litestar([handler], plugins=[plugin])


if __name__ == "__main__":
    serve(create_app())
