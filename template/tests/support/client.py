"""A WebSocket client that says what it expects."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

PATIENCE = 5.0
"""Seconds that an expected frame may take."""

JSON = dict[str, Any]


@dataclass(frozen=True)
class Credentials:
    """What a client presents to open a socket."""

    headers: dict[str, str] = field(default_factory=dict)
    subprotocols: list[str] = field(default_factory=list)
    first_frame: str | None = None
    """What it sends before anything else."""

    async def query(self) -> str:
        """The query string, which is made for each socket."""
        return ""


class Client:
    """A socket, and every message that it has received."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.seen: list[JSON] = []
        self.user: JSON = {}
        """The user in the welcome, once that was received: `id` and `name`."""

    async def send(self, **message: object) -> None:
        await self.socket.send(json.dumps(message))

    async def receive(self) -> JSON:
        """The next message."""
        async with asyncio.timeout(PATIENCE):
            frame = await self.socket.recv()
        try:
            message: JSON = json.loads(frame)
        except ValueError:
            raise AssertionError(f"this is not a message: {frame!r}") from None
        self.seen.append(message)
        if message["type"] == "welcome":
            self.user = message["user"]
        return message

    async def expect(self, type: str, **fields: object) -> JSON:  # noqa: A002
        """The next message of this type and with these fields. Others are skipped."""
        while True:
            try:
                message = await self.receive()
            except TimeoutError:
                last = self.seen[-5:]
                raise AssertionError(f"no {type} {fields}; the last were {last}") from None
            if message["type"] == type and fields.items() <= message.items():
                return message

    async def join(self, room: str, since: JSON | None = None) -> JSON:
        """Join, and ask for messages `since` the position that this frame names."""
        position = since and {name: since[name] for name in ("epoch", "offset")}
        await self.send(type="join", room=room, **{"since": position} if position else {})
        return await self.expect("joined", room=room)

    async def messages(self, count: int) -> list[JSON]:
        """The next messages, so many of them."""
        return [await self.expect("message") for _ in range(count)]

    async def on_the_way(self) -> list[JSON]:
        """Everything that the server sends before it answers a ping."""
        start = len(self.seen)
        await self.send(type="ping")
        await self.expect("pong")
        return self.seen[start:-1]

    async def publish(self, room: str, text: str, id: str | None = None) -> str:  # noqa: A002
        """Publish a chat message, with a new id unless one is given. Returns the id."""
        return await self.publish_event(room, "chat.message", {"text": text}, id)

    async def publish_event(
        self,
        room: str,
        event: str,
        data: JSON,
        id: str | None = None,  # noqa: A002
    ) -> str:
        """Publish an event, with a new id unless one is given. Returns the id."""
        id = id or secrets.token_hex(8)  # noqa: A001
        await self.send(type="publish", room=room, id=id, event=event, data=data)
        return id

    async def signal(self, room: str, event: str, **data: object) -> None:
        """Send a signal."""
        await self.send(type="signal", room=room, event=event, data=data)

    async def call(self, event: str, **data: object) -> JSON:
        """Call the server. Returns the result, or the error."""
        id = secrets.token_hex(8)  # noqa: A001
        await self.send(type="call", id=id, event=event, data=data)
        while True:
            answer = await self.receive()
            if id in {answer.get("id"), answer.get("ref")}:
                return answer


async def until(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait for a condition, for so many seconds."""
    async with asyncio.timeout(patience):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def open_client(
    ws_url: str, credentials: Credentials, path: str = "/ws", **options: Any
) -> AsyncIterator[Client]:
    """Connect. `options` are those of `websockets.connect`.

    Unless they say otherwise, everything that the server sends is read at once.
    """
    query = await credentials.query()
    if query:
        path += ("&" if "?" in path else "?") + query
    async with connect(
        ws_url + path,
        additional_headers=credentials.headers,
        subprotocols=[Subprotocol(name) for name in credentials.subprotocols] or None,
        **{"max_queue": None, **options},
    ) as socket:
        if credentials.first_frame is not None:
            await socket.send(credentials.first_frame)
        yield Client(socket)


async def refused_with(ws_url: str, credentials: Credentials, path: str) -> int:
    """How a socket is refused: the HTTP status, or the code with which it is closed."""
    try:
        async with open_client(ws_url, credentials, path) as client:
            async with asyncio.timeout(PATIENCE):
                await client.socket.wait_closed()
            return client.socket.close_code or 0
    except InvalidStatus as refused:
        return refused.response.status_code
