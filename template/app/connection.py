"""One client's socket: what comes in, what waits to go out, and how it ends."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from starlette.types import Receive, Send

from app.auth.identity import User
from app.limits import RateLimit, Verdict
from app.metrics import CLOSED, RATE_LIMITED
from app.protocol import (
    ClientMessage,
    CloseCode,
    Error,
    Frames,
    InvalidMessage,
    ServerMessage,
    encode,
    join_frames,
    parse_client_message,
    what_it_names,
)
from app.settings import Settings
from app.writer import AsgiWriter, FrameWriter

logger = logging.getLogger(__name__)

READ_AT_ONCE = 32
"""Frames of one client that are handled before others have their turn."""

REPLAY_PIECE = 50
"""Messages of a replay that are written at once."""

Handler = Callable[[ClientMessage], Awaitable[None]]


# What the metric of closed sockets calls the reasons.
REASONS = {
    CloseCode.UNSUPPORTED_DATA: "unsupported",
    CloseCode.POLICY_VIOLATION: "abuse",
    CloseCode.INTERNAL_ERROR: "internal_error",
    CloseCode.TRY_AGAIN_LATER: "too_slow",
    CloseCode.UNAUTHENTICATED: "unauthenticated",
}


class Audience(Protocol):
    """A room, to a connection in it."""

    def update(self, connection: "Connection") -> None:
        """Called whenever the connection's `transport` has changed."""


class Waiting(NamedTuple):
    """Frames in an outbox."""

    frames: Frames
    is_live: bool
    """Whether they count against the limits, which a replay does not."""


class Connection:
    """An accepted socket, with a bounded outbox.

    `send` never waits. While the peer keeps up, frames go straight to the server's
    transport. The outbox holds what came since the transport's buffer is full; when
    that is too much, the client is too slow: what waits is dropped and the socket is
    closed with 1013. A replay, which a client asked for, is not held against it.
    """

    __slots__ = (
        "_close_reason",
        "_live_bytes",
        "_live_messages",
        "_outbox",
        "_outbox_emptied",
        "_rate_limit",
        "_reading",
        "_settings",
        "_writer",
        "id",
        "rooms",
        "transport",
        "unanswered",
        "user",
    )

    def __init__(self, user: User, settings: Settings, writer: FrameWriter | None = None) -> None:
        """Without a writer, frames are sent by ASGI's `send`."""
        self.id = secrets.token_hex(8)
        self.user = user
        self.rooms: dict[str, Audience] = {}
        self.unanswered = 0
        """Publishes that the broker has not taken or refused yet."""
        self._settings = settings
        self._rate_limit = RateLimit(settings.messages_per_second)
        self.transport: asyncio.WriteTransport | None = None
        """Takes frames as they are, while nothing waits and the peer keeps up.

        Of use only while it is not closing; else there is `send_frames`.
        """
        self._writer = writer
        self._outbox: list[Waiting] = []
        self._live_messages = 0
        self._live_bytes = 0
        self._outbox_emptied: asyncio.Event | None = None
        self._reading: asyncio.Timeout | None = None
        self._close_reason: tuple[CloseCode, str] | None = None

    @property
    def is_closing(self) -> bool:
        return self._close_reason is not None

    async def serve(self, receive: Receive, send: Send, handle: Handler) -> None:
        """Hand every message to `handle`, one after the other, until the socket ends."""
        try:
            async with asyncio.timeout(None) as self._reading:
                if self._writer is not None:
                    await self._read(receive, handle)
                else:
                    self._writer = writer = AsgiWriter(send, self._settings.ping_timeout or None)
                    async with writer.running():
                        await self._read(receive, handle)
        except TimeoutError:
            if not self.is_closing:
                raise
        except Exception:
            logger.exception("connection failed", extra=self.log_fields)
            self._reading = None  # it has ended
            self.close(CloseCode.INTERNAL_ERROR, "internal error")
        finally:
            self._reading = None

    # --- In -------------------------------------------------------------------------

    async def _read(self, receive: Receive, handle: Handler) -> None:
        if self._writer is not None:
            self._writer.on_change = self._flush
            self._flush()
        frames = 0
        while not self.is_closing:
            frames += 1
            if frames % READ_AT_ONCE == 0:
                await asyncio.sleep(0)
            event = await receive()
            if event["type"] == "websocket.disconnect":
                return
            message = self._parse(event.get("text"))
            if message is not None:
                await handle(message)

    def _parse(self, frame: str | None) -> ClientMessage | None:
        """Read a frame. One that is no valid message, or one too many, is answered here."""
        if frame is None:
            self.close(CloseCode.UNSUPPORTED_DATA, "text frames only")
        elif self._is_within_limit(frame):
            try:
                return parse_client_message(frame)
            except InvalidMessage as error:
                self.send(
                    Error(code="invalid", detail=error.detail, room=error.room, ref=error.ref)
                )
        return None

    def _is_within_limit(self, frame: str) -> bool:
        verdict = self._rate_limit.take()
        if verdict is Verdict.FINE:
            return True
        if verdict is Verdict.ABUSE:
            self.close(CloseCode.POLICY_VIOLATION, "too many messages")
            return False
        RATE_LIMITED.inc()
        detail = f"at most {self._settings.messages_per_second:g} messages a second: slow down"
        room, ref = what_it_names(frame)
        self.send(Error(code="rate_limited", detail=detail, room=room, ref=ref))
        return False

    # --- Out ------------------------------------------------------------------------

    def send(self, message: ServerMessage) -> None:
        """Encode a message and send it."""
        self.send_frames(encode(message))

    def send_frames(self, frames: Frames) -> None:
        """Send encoded messages, behind all that was sent before."""
        if self._close_reason is not None:
            return
        transport = self.transport
        if transport is not None:
            if not transport.is_closing():  # else the peer is about to be gone
                transport.write(frames.wire)
            return
        self._outbox.append(Waiting(frames, is_live=True))
        self._live_messages += frames.messages
        self._live_bytes += len(frames.wire)
        self._flush()
        most, most_bytes = self._settings.outbox_messages, self._settings.outbox_bytes
        if (most and self._live_messages > most) or (most_bytes and self._live_bytes > most_bytes):
            self.close(CloseCode.TRY_AGAIN_LATER, "too slow")

    def replay(self, messages: Sequence[Frames]) -> None:
        """Send messages of the past, at the pace at which the client takes them."""
        if self._close_reason is not None:
            return
        for start in range(0, len(messages), REPLAY_PIECE):
            piece = join_frames(messages[start : start + REPLAY_PIECE])
            self._outbox.append(Waiting(piece, is_live=False))
        self._flush()

    async def caught_up(self) -> None:
        """Wait until the client has taken every replay, so that it can ask for more."""
        if any(not waiting.is_live for waiting in self._outbox):
            self._outbox_emptied = asyncio.Event()
            await self._outbox_emptied.wait()

    def _flush(self) -> None:
        """Write what waits in the outbox, as far as the peer takes it."""
        writer = self._writer
        if writer is None or self.is_closing:
            return
        written = 0
        while written < len(self._outbox) and writer.is_writable:
            waiting = self._outbox[written]
            writer.write_frames(waiting.frames)
            if waiting.is_live:
                self._live_messages -= waiting.frames.messages
                self._live_bytes -= len(waiting.frames.wire)
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
        """Stop serving the socket and close it; what waits in the outbox is dropped."""
        if self._close_reason is not None:
            return
        self._close_reason = (code, reason)
        self._outbox.clear()
        self._set_transport(None)
        if self._reading is not None:
            # The reader may wait for the client or the broker: it ends now.
            self._reading.reschedule(asyncio.get_running_loop().time())

    async def send_close(self) -> None:
        """Tell the peer why, if it was this side that closed."""
        if self._close_reason is None or self._writer is None:
            return
        code, reason = self._close_reason
        CLOSED.labels(REASONS[code]).inc()
        logger.info("closing: %s", reason, extra={**self.log_fields, "code": int(code)})
        await self._writer.close_socket(code, reason)

    @property
    def log_fields(self) -> dict[str, object]:
        """What a log line about this connection should name."""
        return {"connection": self.id, "user": self.user.name}
