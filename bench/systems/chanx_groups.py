"""chanx: the quick start of its README, with a group for each room.

https://github.com/chanx-dev/chanx#quick-start
The quick start calls `app.add_websocket_route`, which FastAPI no longer has: here the route
is appended. It has one group, which is an attribute of the class; here each connection joins
that of its room.
"""

from typing import Literal

from chanx.core.decorators import channel, ws_handler
from chanx.fast_channels.websocket import AsyncJsonWebsocketConsumer
from chanx.messages.base import BaseMessage
from fast_channels.layers import InMemoryChannelLayer, register_channel_layer
from fastapi import FastAPI
from pydantic import BaseModel
from serve import serve
from starlette.routing import WebSocketRoute


class ChatPayload(BaseModel):
    text: str


class ChatMessage(BaseMessage):
    action: Literal["chat"] = "chat"
    payload: ChatPayload


class ChatNotification(BaseMessage):
    action: Literal["chat_notification"] = "chat_notification"
    payload: ChatPayload


@channel(name="chat", description="Room chat")
class ChatConsumer(AsyncJsonWebsocketConsumer):
    channel_layer_alias = "default"

    async def post_authentication(self) -> None:
        await self.join_group(self.url_params["room"])

    @ws_handler(output_type=ChatNotification)
    async def handle_chat(self, message: ChatMessage) -> None:
        await self.broadcast_message(ChatNotification(payload=message.payload))


register_channel_layer("default", InMemoryChannelLayer())

app = FastAPI()
app.routes.append(WebSocketRoute("/ws/{room}", ChatConsumer.as_asgi()))

if __name__ == "__main__":
    serve(app)
