"""What one client is sent: what waits to be written, and how the socket ends."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from app.realtime.frames import Frames, encode, join_frames
from app.realtime.identity import User
from app.realtime.limits import Budget
from app.realtime.metrics import CLOSED
from app.realtime.protocol import CloseCode, ServerMessage
from app.realtime.server.interface import FrameWriter
from app.realtime.settings import RealtimeSettings

logger = logging.getLogger(__name__)

REPLAY_PIECE = 50
"""Messages of a replay that are written at once."""

Answer = TypeVar("Answer")

SignalKey = tuple[str, str, str]
"""Room, id of the sender, and event. For a client that is behind, only the newest counts."""

# What the metric of closed sockets calls the reasons.
REASONS = {
    CloseCode.UNSUPPORTED_DATA: "unsupported",
    CloseCode.POLICY_VIOLATION: "abuse",
    CloseCode.INTERNAL_ERROR: "internal_error",
    CloseCode.TRY_AGAIN_LATER: "too_slow",
    CloseCode.UNAUTHENTICATED: "unauthenticated",
    CloseCode.FORBIDDEN: "disconnected",
}


class Audience(Protocol):
    """A room, as a connection in it sees it."""

    def update(self, connection: "Connection") -> None:
        """Called whenever the connection's `transport` has changed."""


class Waiting(NamedTuple):
    """Frames in an outbox."""

    frames: Frames
    is_live: bool
    """Whether they count against the limits. A replay does not."""
    signal: SignalKey | None = None


class Connection:
    """An accepted socket, with a bounded outbox.

    `send` never waits. While the client keeps up, frames go directly to the server's
    transport. When the transport's buffer is full, they wait in the outbox. When that is
    full as well, the client is too slow: the server drops what waits and closes the socket
    with 1013. A replay does not count against the limits, because the client asked for it.
    """

    __slots__ = (
        "_close_reason",
        "_live_bytes",
        "_live_messages",
        "_outbox",
        "_outbox_emptied",
        "_settings",
        "_writer",
        "id",
        "new_rooms",
        "on_close",
        "replay_bytes",
        "rooms",
        "transport",
        "unanswered",
        "user",
    )

    def __init__(self, user: User, settings: RealtimeSettings) -> None:
        """What is sent before `start` waits for it."""
        self.id = secrets.token_hex(8)
        self.user = user
        self.rooms: dict[str, Audience] = {}
        """The rooms that it is in. The user's own room is `User.room`."""
        self.unanswered = 0
        """Publishes that the broker has neither taken nor refused yet."""
        self.new_rooms: Budget | None = None
        """How many rooms it may enter that nobody on this worker is in."""
        self.replay_bytes = 0
        """Bytes of replays that the client has not taken yet."""
        self.on_close: Callable[[], None] | None = None
        """Called by `close`."""
        self._settings = settings
        self.transport: asyncio.WriteTransport | None = None
        """Takes frames directly, while nothing waits and the client keeps up.

        Write to it only while it is not closing; otherwise call `send_frames`.
        """
        self._writer: FrameWriter | None = None
        self._outbox: list[Waiting] = []
        self._live_messages = 0
        self._live_bytes = 0
        self._outbox_emptied: asyncio.Event | None = None
        self._close_reason: tuple[CloseCode, str] | None = None

    @property
    def is_closing(self) -> bool:
        return self._close_reason is not None

    def start(self, writer: FrameWriter) -> None:
        """Write what was sent so far, and from now on everything."""
        self._writer = writer
        writer.on_change = self._flush
        self._flush()

    async def run_handler(self, work: Awaitable[Answer]) -> Answer:
        """Await code of the application.

        Nothing is read in the meantime, so the client's answer to a ping is not seen.
        """
        writer = self._writer
        if writer is None:
            return await work
        writer.handler_is_running = True
        try:
            return await work
        finally:
            writer.handler_is_running = False

    # --- Out ------------------------------------------------------------------------

    def send(self, message: ServerMessage) -> None:
        """Encode a message and send it."""
        self.send_frames(encode(message))

    def send_frames(self, frames: Frames) -> None:
        """Send encoded messages, after everything that was sent before."""
        if self._close_reason is not None:
            return
        transport = self.transport
        if transport is not None:
            if not transport.is_closing():  # else the client is about to be gone
                transport.write(frames.wire)
            return
        self._wait(Waiting(frames, is_live=True))

    def send_signal(self, frames: Frames, key: SignalKey) -> None:
        """Send a signal. In the outbox it replaces an older one with the same key."""
        if self._close_reason is None and self.transport is None:
            for index, waiting in enumerate(self._outbox):
                if waiting.signal == key:
                    self._forget(waiting)
                    del self._outbox[index]
                    break
            self._wait(Waiting(frames, is_live=True, signal=key))
        else:
            self.send_frames(frames)

    def _wait(self, waiting: Waiting) -> None:
        """Put live frames into the outbox."""
        self._outbox.append(waiting)
        self._live_messages += waiting.frames.messages
        self._live_bytes += len(waiting.frames.wire)
        self._flush()
        most, most_bytes = self._settings.outbox_messages, self._settings.outbox_bytes
        if (most and self._live_messages > most) or (most_bytes and self._live_bytes > most_bytes):
            self.close(CloseCode.TRY_AGAIN_LATER, "too slow")

    def _forget(self, waiting: Waiting) -> None:
        if waiting.is_live:
            self._live_messages -= waiting.frames.messages
            self._live_bytes -= len(waiting.frames.wire)
        else:
            self.replay_bytes -= len(waiting.frames.wire)

    def replay(self, messages: Sequence[Frames]) -> None:
        """Send messages from history, at the pace at which the client takes them."""
        if self._close_reason is not None:
            return
        for start in range(0, len(messages), REPLAY_PIECE):
            piece = join_frames(messages[start : start + REPLAY_PIECE])
            self._outbox.append(Waiting(piece, is_live=False))
            self.replay_bytes += len(piece.wire)
        self._flush()

    async def caught_up(self) -> None:
        """Wait until the client has taken every replay, so that it can ask for more."""
        if self.replay_bytes:
            self._outbox_emptied = asyncio.Event()
            await self._outbox_emptied.wait()

    def _flush(self) -> None:
        """Write what waits in the outbox, as far as the client takes it."""
        writer = self._writer
        if writer is None or self.is_closing:
            return
        written = 0
        while written < len(self._outbox) and writer.is_writable:
            waiting = self._outbox[written]
            writer.write_frames(waiting.frames)
            self._forget(waiting)
            written += 1
        del self._outbox[:written]
        is_idle = writer.is_writable and not self._outbox
        self._set_transport(writer.raw_transport if is_idle else None)
        if not self._outbox and self._outbox_emptied is not None:
            self._outbox_emptied.set()

    def _set_transport(self, transport: asyncio.WriteTransport | None) -> None:
        if transport is not self.transport:
            self.transport = transport
            for room in self.rooms.values():
                room.update(self)

    # --- The end --------------------------------------------------------------------

    def close(self, code: CloseCode, reason: str) -> None:
        """Stop serving the socket and close it. What waits in the outbox is dropped."""
        if self._close_reason is not None:
            return
        self._close_reason = (code, reason)
        self._outbox.clear()
        self.replay_bytes = 0
        self._set_transport(None)
        if self.on_close is not None:
            self.on_close()

    async def send_close(self) -> None:
        """Send the close frame, if it was the server that closed."""
        if self._close_reason is None or self._writer is None:
            return
        code, reason = self._close_reason
        CLOSED.labels(REASONS[code]).inc()
        logger.info("closing: %s", reason, extra={**self.log_fields, "code": int(code)})
        await self._writer.close_socket(code, reason)

    @property
    def log_fields(self) -> dict[str, object]:
        """What a log line about this connection should name."""
        return {"connection": self.id, "user": self.user.id, "user_name": self.user.name}
