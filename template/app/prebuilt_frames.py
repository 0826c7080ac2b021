"""uvicorn's WebSocket protocol, extended to take frames that are already built.

ASGI's `send` builds a frame anew for every receiver, and costs a coroutine and several
checks of state: about half of what a delivery costs. A publication that goes to a
thousand sockets is the same bytes for each of them. So this subclass offers the
application the ASGI extension `websocket.prebuilt_frames`: an object of class
`FrameWriter` that puts such bytes into the transport.

`python -m app` serves with this class. It depends on internals of uvicorn's sansio
protocol, hence the narrow range in pyproject.toml; `tests/test_prebuilt_frames.py`
fails when they move. Under any other server the extension is missing, and
`app/writer.py` writes through `send`.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from app.protocol import Frames

EXTENSION = "websocket.prebuilt_frames"


class PrebuiltFramesProtocol(WebSocketsSansIOProtocol):
    """The protocol of one connection, which is its own `FrameWriter`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_change: Callable[[], None] | None = None
        # What a peer that takes no data any more is given before its transport is cut.
        self.close_timeout = self.config.ws_ping_timeout or self.close_timeout

    # --- FrameWriter ----------------------------------------------------------------

    @property
    def is_writable(self) -> bool:
        """Whether the transport's buffer is below its high-water mark (64 KiB)."""
        return self.writable.is_set()

    def write_frames(self, frames: Frames) -> None:
        """Write frames behind what was written before; none once the socket closes."""
        if not (self.close_sent or self.transport.is_closing()):
            self.transport.write(frames.wire)

    @property
    def raw_transport(self) -> asyncio.WriteTransport:
        """Whoever writes to it has to check that it is neither closing nor full."""
        return self.transport

    async def close_socket(self, code: int, reason: str) -> None:
        """Send a close frame, whatever else waits in the buffer, and expect the answer."""
        if self.close_sent or self.transport.is_closing():
            return
        self.stop_keepalive()
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self._abort_later()

    # --- What uvicorn calls ---------------------------------------------------------

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if not self.close_sent:  # else the request was no handshake
            extensions = cast("dict[str, object]", self.scope["extensions"])
            extensions[EXTENSION] = self

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.on_change is not None:
            self.on_change()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.on_change is not None:
            self.on_change()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)  # which makes it writable: all that waits can go
        if self.on_change is not None:
            self.on_change()
            self.on_change = None

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._abort_later()

    def shutdown(self) -> None:
        super().shutdown()
        self._abort_later()

    def _abort_later(self) -> None:
        """uvicorn waits for the buffer to drain, which a stalled peer never lets happen."""
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)
