"""What the server and an open socket want of each other.

uvicorn with `PrebuiltFramesProtocol` offers it directly (`frames.py`), any other server
through ASGI (`asgi.py`).
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from app.realtime.frames import Frames


class FrameWriter(Protocol):
    """The server's side: where the frames of one socket go."""

    on_change: Callable[[], None] | None
    """Called whenever `is_writable` has changed."""
    handler_is_running: bool
    """Whether reading is paused because code of the application runs."""

    @property
    def is_writable(self) -> bool:
        """Whether the client keeps up. While it does not, nothing should be written."""

    def write_frames(self, frames: Frames) -> None:
        """Send frames, in order. Never waits. A closing socket ignores them."""

    @property
    def raw_transport(self) -> asyncio.WriteTransport | None:
        """The transport that takes frames directly, if the server has one.

        Write to it only while it is not closing and `is_writable` is true.
        """

    def pause_reading(self) -> None:
        """Read nothing more from the client. What was read already still arrives."""

    def resume_reading(self) -> None:
        """Read from the client again."""

    async def close_socket(self, code: int, reason: str) -> None:
        """Close the socket with this code."""


class Receiver(Protocol):
    """The application's side of one socket. Nothing here waits."""

    def start(self, writer: FrameWriter, on_end: Callable[[], None] | None = None) -> None:
        """Begin. `on_end` is called once nothing is left to do for the socket."""

    def receive(self, text: str | None) -> None:
        """Take a text frame. None stands for a binary frame."""

    def disconnected(self) -> None:
        """The client is gone. Nothing arrives afterwards. Further calls change nothing."""
