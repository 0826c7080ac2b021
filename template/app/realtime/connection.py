"""One client's socket: what it receives, what waits to be sent, and how it ends."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from starlette.types import Receive, Send

from app.realtime.frames import Frames, encode, join_frames
from app.realtime.identity import User
from app.realtime.limits import RateLimit, Verdict
from app.realtime.metrics import CLOSED, RATE_LIMITED
from app.realtime.parser import ClientMessage, ClientMessages, InvalidMessage, what_it_names
from app.realtime.protocol import CloseCode, Error, ServerMessage
from app.realtime.server.writer import AsgiWriter, FrameWriter
from app.realtime.settings import RealtimeSettings

logger = logging.getLogger(__name__)

READ_AT_ONCE = 32
"""Frames of one client that are handled before other tasks have their turn."""

REPLAY_PIECE = 50
"""Messages of a replay that are written at once."""

Handler = Callable[[ClientMessage], Awaitable[None]]

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

    def __init__(
        self, user: User, settings: RealtimeSettings, writer: FrameWriter | None = None
    ) -> None:
        """Without a writer, frames are sent by ASGI's `send`."""
        self.id = secrets.token_hex(8)
        self.user = user
        self.rooms: dict[str, Audience] = {}
        """The rooms that it is in. The user's own room is `User.room`."""
        self.unanswered = 0
        """Publishes that the broker has neither taken nor refused yet."""
        self._settings = settings
        self._rate_limit = RateLimit(settings.messages_per_second)
        self.transport: asyncio.WriteTransport | None = None
        """Takes frames directly, while nothing waits and the client keeps up.

        Write to it only while it is not closing; otherwise call `send_frames`.
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

    async def serve(
        self, receive: Receive, send: Send, messages: ClientMessages, handle: Handler
    ) -> None:
        """Call `handle` with every message, one after the other, until the socket ends."""
        try:
            async with asyncio.timeout(None) as self._reading:
                if self._writer is not None:
                    await self._read(receive, messages, handle)
                else:
                    self._writer = writer = AsgiWriter(send, self._settings.ping_timeout or None)
                    async with writer.running():
                        await self._read(receive, messages, handle)
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

    async def _read(self, receive: Receive, messages: ClientMessages, handle: Handler) -> None:
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
            message = self._parse(event.get("text"), messages)
            if message is not None:
                await handle(message)

    def _parse(self, text: str | None, messages: ClientMessages) -> ClientMessage | None:
        """Read a frame. Answers invalid messages, and those over the rate limit, itself."""
        if text is None:
            self.close(CloseCode.UNSUPPORTED_DATA, "text frames only")
        elif self._is_within_limit(text):
            try:
                return messages.parse(text)
            except InvalidMessage as error:
                self.send(
                    Error(code=error.code, detail=error.detail, room=error.room, ref=error.ref)
                )
        return None

    def _is_within_limit(self, text: str) -> bool:
        verdict = self._rate_limit.take()
        if verdict is Verdict.FINE:
            return True
        if verdict is Verdict.ABUSE:
            self.close(CloseCode.POLICY_VIOLATION, "too many messages")
            return False
        RATE_LIMITED.inc()
        detail = f"at most {self._settings.messages_per_second:g} messages a second: slow down"
        room, ref = what_it_names(text)
        self.send(Error(code="rate_limited", detail=detail, room=room, ref=ref))
        return False

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

    def replay(self, messages: Sequence[Frames]) -> None:
        """Send messages from history, at the pace at which the client takes them."""
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
        self._set_transport(None)
        if self._reading is not None:
            # The reading task may wait for the client or the broker: end it now.
            self._reading.reschedule(asyncio.get_running_loop().time())

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
