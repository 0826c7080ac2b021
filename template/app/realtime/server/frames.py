"""uvicorn's WebSocket protocol, extended to pass frames directly, in and out.

ASGI's `send` builds a frame for every receiver, and costs a coroutine and several checks of
state: about half of the cost of a delivery. But a publication to a thousand sockets is the
same bytes for each of them. ASGI's `receive` needs a task that waits for every socket, a
wake-up of it for every frame, and a pause of reading in between.

So this subclass offers the application the ASGI extension `websocket.prebuilt_frames`: the
protocol itself. It is a `FrameWriter`, which writes such bytes to the transport, and after
`attach` it calls a `Receiver` with every frame that arrives.

`python -m app` serves with this class. It depends on internals of uvicorn's sansio
protocol, so pyproject.toml allows a narrow range of versions, and
`tests/engine/server/test_frames.py` fails when they change. Under any other server the
extension is missing, and `asgi.py` serves the socket by `receive` and `send`.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState

from app.realtime.frames import Frames
from app.realtime.protocol import CloseCode
from app.realtime.server.interface import Receiver
from app.realtime.server.texts import is_between_messages, text_frame

EXTENSION = "websocket.prebuilt_frames"

MAX_CONTROL_FRAMES = 100
"""Pings, pongs and fragments that a client may send in a second.

The application limits messages. It does not see these frames.
"""

MAX_PARTS = 64
"""Fragments of a message that are stored separately."""

SLICE = 4096
"""Bytes that are parsed before the limit of control frames is checked again."""


class Nowhere(asyncio.Queue[Any]):
    """The queue of a socket that ASGI does not serve any more. It stays empty."""

    def put_nowait(self, item: Any) -> None:
        """Drop an event."""


NOWHERE = Nowhere()


class PrebuiltFramesProtocol(WebSocketsSansIOProtocol):
    """The protocol of one connection, which is its own `FrameWriter`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_change: Callable[[], None] | None = None
        self.handler_is_running = False
        self._receiver: Receiver | None = None
        self._control_frames = 0
        self._control_frames_since = 0.0
        self._has_taken_data = False
        # How long a client that takes no more data has before its connection is aborted.
        self.close_timeout = self.config.ws_ping_timeout or self.close_timeout

    # --- FrameWriter ----------------------------------------------------------------

    @property
    def is_writable(self) -> bool:
        """Whether the transport's buffer is below its high-water mark (64 KiB)."""
        return self.writable.is_set()

    def write_frames(self, frames: Frames) -> None:
        """Write frames after everything written before. A closing socket ignores them."""
        if not (self.close_sent or self.transport.is_closing()):
            self.transport.write(frames.wire)

    @property
    def raw_transport(self) -> asyncio.WriteTransport:
        """The transport. Check that it is neither closing nor full before writing to it."""
        return self.transport

    async def close_socket(self, code: int, reason: str) -> None:
        """Send a close frame, even if the buffer is full, and wait for the answer."""
        if self.close_sent or self.transport.is_closing():
            return
        self.stop_keepalive()
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.resume_reading()
        self._abort_later()

    def pause_reading(self) -> None:
        """Read nothing more from the client. What was read already still arrives."""
        if not (self.read_paused or self.transport.is_closing()):
            self.read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read from the client again."""
        if self.read_paused and not self.transport.is_closing():
            self.read_paused = False
            self.transport.resume_reading()

    # --- What arrives ---------------------------------------------------------------

    def attach(self, receiver: Receiver) -> None:
        """Pass on to `receiver` what arrives, beginning with what is here already."""
        arrived, self.queue = self.queue, NOWHERE
        self._receiver = receiver
        receiver.start(self)
        self.resume_reading()
        while not arrived.empty():
            event = arrived.get_nowait()
            if event["type"] == "websocket.receive":
                receiver.receive(event.get("text"))
            else:
                self._tell_end()

    def _tell_end(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.disconnected()

    def send_receive_event_to_app(self) -> None:
        receiver = self._receiver
        if receiver is None or self.close_sent:
            self._send_event_by_asgi()
        elif self.curr_msg_data_type == "text":
            try:
                text = b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self._send_event_by_asgi()  # which closes with 1007
            else:
                self.frames = []
                receiver.receive(text)
        else:
            self.frames = []
            receiver.receive(None)

    def _send_event_by_asgi(self) -> None:
        # A text that is not UTF-8 and a close frame may arrive together. Then the close is
        # answered first, and uvicorn fails when it closes because of the text.
        with suppress(InvalidState):
            super().send_receive_event_to_app()

    # --- What uvicorn calls ---------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        passed_on = 0 if self._receiver is None else self._pass_on_texts(self._receiver, data)
        for start in range(passed_on, len(data), SLICE):
            super().data_received(data[start : start + SLICE])
            if self.transport.is_closing():
                break
        # The request was invalid, for example because a header has more than 8 KiB. uvicorn
        # neither sends the refusal nor closes the connection.
        if self.conn.handshake_exc is not None and not self.close_sent:
            self.close_sent = True
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def _pass_on_texts(self, receiver: Receiver, data: bytes) -> int:
        """Pass on the texts that data begins with. Returns how many bytes that was.

        All other frames, and what is not complete, are for the parser.
        """
        if not is_between_messages(self.conn):
            return 0
        end = 0
        while end < len(data) and self._receiver is receiver and not self.close_sent:
            read = text_frame(data, end, self.config.ws_max_size)
            if read is None:
                break
            text, end = read
            receiver.receive(text)
        return end

    def handle_parser_exception(self) -> None:
        if self.conn.close_sent is not None:
            super().handle_parser_exception()
            self._tell_end()
            return
        # The client sent invalid bytes before the handshake finished.
        self.disconnected = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
        self.transport.abort()

    def handle_close(self, event: Any) -> None:
        super().handle_close(event)
        self._tell_end()

    async def run_asgi(self) -> None:
        """Run the application, as uvicorn does, but leave an attached socket open."""
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except BaseException:
            self.logger.exception("Exception in ASGI application\n")
            self.send_500_response()
        else:
            if not self.handshake_complete:
                self.logger.error("ASGI callable returned without completing handshake.")
                self.send_500_response()
        if self.queue is not NOWHERE and self.close_timer is None:
            self.transport.close()

    def send_500_response(self) -> None:
        if not self.transport.is_closing():  # otherwise it fails
            super().send_500_response()

    def handle_cont(self, event: Any) -> None:
        # Empty fragments don't count against the size, so a client could send any number.
        if self._is_tolerable() and (event.data or event.fin):
            super().handle_cont(event)
            if len(self.frames) > MAX_PARTS:  # each takes more memory than its bytes
                self.frames = [b"".join(self.frames)]

    def handle_ping(self) -> None:
        if self._is_tolerable() and self.is_writable:
            super().handle_ping()
        else:  # pongs would pile up for a client that does not read
            self.conn.data_to_send()

    def handle_pong(self, event: Any) -> None:
        if self._is_tolerable():
            super().handle_pong(event)

    def _is_tolerable(self) -> bool:
        """Count a frame. If there are too many, close the socket with 1008."""
        now = self.loop.time()
        if now - self._control_frames_since >= 1:
            self._control_frames_since, self._control_frames = now, 0
        self._control_frames += 1
        if self._control_frames > MAX_CONTROL_FRAMES and not self.close_sent:
            self.stop_keepalive()
            self.conn.fail(CloseCode.POLICY_VIOLATION, "too many control frames")
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
            self.transport.close()
            self._abort_later()
        return self._control_frames <= MAX_CONTROL_FRAMES

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if not self.close_sent:  # otherwise the request was not a handshake
            extensions = cast("dict[str, object]", self.scope["extensions"])
            extensions[EXTENSION] = self

    def start_keepalive(self) -> None:
        super().start_keepalive()
        # The handshake is done. Its headers are a sixth of the objects of an idle socket.
        self.request.headers.clear()  # the parser keeps a reference to the request
        del self.request, self.response

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.on_change is not None:
            self.on_change()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._has_taken_data = True
        if self.on_change is not None:
            self.on_change()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)  # which makes it writable, so that the outbox is emptied
        self._tell_end()
        if self.on_change is not None:
            self.on_change()
            self.on_change = None

    def send_keepalive_ping(self) -> None:
        self._has_taken_data = False
        super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        if self.read_paused and (self._has_taken_data or self.handler_is_running):
            # Reading is paused, so the pong can't be seen: the client takes a long replay, or
            # a handler of the application runs. The kernel ends dead connections.
            self._has_taken_data = False
            self.pong_timer = self.loop.call_later(self.ping_timeout or 0, self.keepalive_timeout)
            return
        super().keepalive_timeout()
        self._abort_later()

    def shutdown(self) -> None:
        super().shutdown()
        self._tell_end()
        self._abort_later()

    def _abort_later(self) -> None:
        """Abort if the client stalls: uvicorn would wait for the buffer to drain."""
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)
