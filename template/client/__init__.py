"""A client of this application, for asyncio.

    async with connect("ws://127.0.0.1:8000/ws", credentials) as client:
        room = await client.join("lobby")
        await room.publish(ChatMessage(text="hello"))
        async for message in room:
            print(message.sender, message.event)

`client.auth` has the credentials. `python -m client` is a chat in the terminal.
"""

from client.client import Client, connect
from client.connection import State, Status
from client.credentials import Credentials, Handshake, Unreachable
from client.errors import (
    ClientError,
    ConnectionEnded,
    ConnectionLost,
    Evicted,
    MessagesMissed,
    ServerError,
    Unauthenticated,
    Unconfirmed,
)
from client.messages import Member, Message, Page, Position, RawEvent, ReceivedSignal
from client.room import Room

__all__ = [
    "Client",
    "ClientError",
    "ConnectionEnded",
    "ConnectionLost",
    "Credentials",
    "Evicted",
    "Handshake",
    "Member",
    "Message",
    "MessagesMissed",
    "Page",
    "Position",
    "RawEvent",
    "ReceivedSignal",
    "Room",
    "ServerError",
    "State",
    "Status",
    "Unauthenticated",
    "Unconfirmed",
    "Unreachable",
    "connect",
]
