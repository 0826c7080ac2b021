"""A server that does what a script says, also what no server should do."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from client import Client, Handshake, connect

JSON = dict[str, Any]

USER = {"id": "u1", "name": "Ada"}
OTHER = {"id": "u2", "name": "Bob"}
PATIENCE = 5.0


class NoCredentials:
    """Presents nothing, and counts how often the server refused that."""

    def __init__(self) -> None:
        self.refusals = 0

    async def handshake(self, server: str) -> Handshake:  # noqa: ARG002
        return Handshake()

    def refused(self) -> None:
        self.refusals += 1

    async def while_open(self, server: str, send: object) -> None:
        """There is nothing to do."""


class Peer:
    """The server's end of one socket."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket

    async def send(self, type: str, **fields: object) -> None:  # noqa: A002
        await self.socket.send(json.dumps({"type": type, **fields}))

    async def receive(self) -> JSON:
        async with asyncio.timeout(PATIENCE):
            frame: JSON = json.loads(await self.socket.recv())
        return frame

    async def expect(self, type: str, **fields: object) -> JSON:  # noqa: A002
        """The next message, which must be of this type."""
        frame = await self.receive()
        assert frame["type"] == type, frame
        assert fields.items() <= frame.items(), frame
        return frame

    async def welcome(self, user: JSON = USER, heartbeat: float = 0) -> None:
        await self.send("welcome", connection="c", user=user, heartbeat=heartbeat)

    async def joined(
        self, room: str = "r", *, epoch: str = "e", offset: int = 0, recovered: bool = False
    ) -> None:
        await self.send(
            "joined",
            room=room,
            epoch=epoch,
            offset=offset,
            recovered=recovered,
            count=1,
            members=[USER],
        )

    async def message(
        self,
        offset: int,
        id: str | None = None,  # noqa: A002
        *,
        room: str = "r",
        sender: JSON = OTHER,
        text: str = "x",
    ) -> None:
        await self.send("message", **message(offset, id, room=room, sender=sender, text=text))

    def abort(self) -> None:
        """Cut the connection."""
        self.socket.transport.abort()


def message(
    offset: int,
    id: str | None = None,  # noqa: A002
    *,
    room: str = "r",
    sender: JSON = OTHER,
    text: str = "x",
) -> JSON:
    """The fields of a message."""
    return {
        "room": room,
        "id": id or f"m{offset}",
        "offset": offset,
        "event": "chat.message",
        "data": {"text": text},
        "sender": sender,
        "sent_at": "2026-01-02T03:04:05Z",
    }


Script = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def scripted(
    *scripts: Script, then: Script | None = None, refuse: Sequence[int] = ()
) -> AsyncIterator[str]:
    """A server whose sockets follow the scripts, one after the other. Yields its address.

    Further sockets follow `then`. A socket whose script is over stays open. `refuse` are HTTP
    statuses that the first handshakes are answered with. What a script raises is raised at
    the end of the block.
    """
    left = [*scripts]
    statuses = [*refuse]
    failures: list[BaseException] = []

    async def handle(socket: ServerConnection) -> None:
        script = left.pop(0) if left else then
        try:
            if script is not None:
                await script(Peer(socket))
            await socket.wait_closed()
        except ConnectionClosed:
            pass
        except (AssertionError, TimeoutError, KeyError) as failure:
            failures.append(failure)
            socket.transport.abort()

    def refuse_some(socket: ServerConnection, _: Request) -> Response | None:
        return socket.respond(statuses.pop(0), "no") if statuses else None

    async with serve(
        handle,
        "127.0.0.1",
        0,
        subprotocols=[Subprotocol("realtime.v1")],
        process_request=refuse_some,
        ping_interval=None,
        close_timeout=0.1,
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}/ws"
    if failures:
        raise failures[0]
    assert not left, f"{len(left)} sockets were not opened"


@asynccontextmanager
async def talking(*scripts: Script, inbox_size: int = 1000) -> AsyncIterator[Client]:
    """A client of such a server. The block may take a few seconds."""
    async with (
        asyncio.timeout(PATIENCE),
        scripted(*scripts) as url,
        connect(url, NoCredentials(), inbox_size=inbox_size) as client,
    ):
        yield client
