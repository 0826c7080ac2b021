"""What goes over a socket, and how a socket ends."""

import asyncio
import json
import logging
import os
from collections.abc import Mapping
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from client.codes import ABNORMAL
from client.messages import JSON

logger = logging.getLogger("client")

PING = {"type": "ping"}


def read(frame: str | bytes) -> JSON:
    """A message of the server; empty if it is none."""
    try:
        message = json.loads(frame)
    except ValueError:
        message = None
    if isinstance(message, dict):
        return message
    logger.error("the server sent a frame that is no message")
    return {}


def why(error: Exception) -> str:
    """What the system says about an error, without numbers and addresses."""
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


def code_of(closed: ConnectionClosed) -> int:
    """The close code that the server sent."""
    return closed.rcvd.code if closed.rcvd is not None else ABNORMAL


def is_answer_to_ping(frame: JSON) -> bool:
    """Whether it shows that the server reads what it is sent: a ping may be over the limit."""
    is_limited = frame.get("code") == "rate_limited" and not frame.keys() & {"room", "ref"}
    return is_limited or frame.get("type") == "pong"


async def send(socket: ClientConnection, message: Mapping[str, Any]) -> None:
    """Send a message. If the socket is closed it is dropped: the reader finds that out."""
    try:
        await socket.send(json.dumps(message))
    except ConnectionClosed:
        await asyncio.get_running_loop().create_future()  # until this task is cancelled
