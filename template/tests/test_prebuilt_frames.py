"""Fails when the internals of uvicorn move on which `app/prebuilt_frames.py` depends.

The protocol runs under a server of asyncio's own, and its peers are bare TCP
connections, so that every byte on the wire is seen.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from uvicorn import Config
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader as FrameReader

from app.prebuilt_frames import EXTENSION, PrebuiltFramesProtocol
from app.protocol import Frames, Pong, encode
from tests.client import PATIENCE, until

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
