"""A relay in front of a server that spoils what the server sends, as a broken server would."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Data

Fault = Callable[[Data], list[Data]]
"""Returns what is sent in place of a frame."""

NewFault = Callable[[], Fault]
"""Makes one for each connection."""

NORMAL = 1000
NEVER_SENT = {1005, 1006}
"""Close codes that stand for the lack of one (RFC 6455 section 7.4.1)."""

PASSED_ON = ("Authorization", "Cookie", "Origin")


@asynccontextmanager
async def relay(ws_url: str, new_fault: NewFault) -> AsyncIterator[str]:
    """The address of a relay to a server."""

    async def carry(client: ServerConnection) -> None:
        assert client.request is not None
        headers = {
            name: client.request.headers[name]
            for name in PASSED_ON
            if name in client.request.headers
        }
        async with (
            connect(
                ws_url + client.request.path, additional_headers=headers, max_queue=None
            ) as server,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(forward(client, server, lambda frame: [frame]))
            tasks.create_task(forward(server, client, new_fault()))

    async with serve(carry, "127.0.0.1", 0, max_queue=None) as listener:
        port = listener.sockets[0].getsockname()[1]
        yield f"ws://127.0.0.1:{port}"


async def forward(
    source: ClientConnection | ServerConnection,
    target: ClientConnection | ServerConnection,
    fault: Fault,
) -> None:
    """Carry frames until one side closes, and then close the other one."""
    try:
        async for frame in source:
            for changed in fault(frame):
                await target.send(changed)
    except ConnectionClosed:
        pass
    code = source.close_code or NORMAL
    await target.close(NORMAL if code in NEVER_SENT else code)


def is_message(frame: Data) -> bool:
    message: dict[str, object] = json.loads(frame)
    return message["type"] == "message"


def dropping() -> Fault:
    """Loses the second message of a connection."""
    count = 0

    def fault(frame: Data) -> list[Data]:
        nonlocal count
        count += is_message(frame)
        return [] if is_message(frame) and count == 2 else [frame]

    return fault


def doubling() -> Fault:
    """Sends each message twice."""
    return lambda frame: [frame] * (2 if is_message(frame) else 1)


def reordering() -> Fault:
    """Sends every other message after the one that follows it."""
    held: list[Data] = []

    def fault(frame: Data) -> list[Data]:
        if is_message(frame) and not held:
            held.append(frame)
            return []
        released = [frame, *held]
        held.clear()
        return released

    return fault
