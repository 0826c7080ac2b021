"""A WebSocket that is cheap enough for thousands in one process."""

import asyncio
import json
import socket
from collections.abc import Callable
from struct import pack
from typing import cast

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
"""Opcodes (RFC 6455 section 5.2)."""

HANDSHAKE_SECONDS = 20.0


class HandshakeError(ConnectionError):
    """The server answered the handshake with another status than 101."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class LightSocket(asyncio.Protocol):
    """One socket. It answers pings and closes, and passes messages to `on_text`.

    It relies on a server that sends whole messages without compression.
    """

    def __init__(self, request: bytes, on_text: Callable[[bytes], None]) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.close_code: int | None = None
        self._request = request
        self._on_text = on_text
        self._transport: asyncio.Transport | None = None
        self._unread = b""

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, **message: object) -> None:
        """Send a message. A closed socket ignores it."""
        self._send_frame(TEXT, json.dumps(message).encode())

    def close(self) -> None:
        """Say goodbye: the server answers, and ends the connection."""
        self._send_frame(CLOSE, pack("!H", 1000))

    def reset(self) -> None:
        """End the connection with a reset (RST) in place of a goodbye."""
        if self._transport is not None and self.is_open:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
            self._transport.abort()

    def stall(self) -> None:
        """Stop reading."""
        if self._transport is not None and self.is_open:
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and self.is_open:
            self._transport.resume_reading()

    def _send_frame(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        if size < 126:
            header = pack("!BB", 0x80 | opcode, 0x80 | size)
        else:
            header = pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
        # Masked with zeros, so that the payload stays as it is.
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(header + b"\0\0\0\0" + payload)

    # --- What asyncio calls ---------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectionResetError(f"before the handshake ended: {exc}"))
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self._unread:
            data = self._unread + data
        start = 0
        if not self.opened.done():
            start = data.find(b"\r\n\r\n") + 4
            if start < 4:
                self._unread = data
                return
            status = data[9:12]
            if status != b"101":
                self.opened.set_exception(HandshakeError(int(status) if status.isdigit() else 0))
                if self._transport is not None:
                    self._transport.abort()
                return
            self.opened.set_result(None)
        self._unread = data[self._read_frames(data, start) :]

    def _read_frames(self, data: bytes, start: int) -> int:
        """Handle the frames that are complete. Returns where the rest begins."""
        while len(data) >= start + 2:
            size, payload = data[start + 1], start + 2
            if size == 126:
                size, payload = int.from_bytes(data[start + 2 : start + 4]), start + 4
            elif size == 127:
                size, payload = int.from_bytes(data[start + 2 : start + 10]), start + 10
            end = payload + size
            if len(data) < end:
                break
            self._handle(data[start] & 0x0F, data[payload:end])
            start = end
        return start

    def _handle(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self._on_text(payload)
        elif opcode == PING:
            self._send_frame(PONG, payload)
        elif opcode == CLOSE:
            self.close_code = int.from_bytes(payload[:2])
            self._send_frame(CLOSE, payload[:2])


async def open_light(
    port: int, address: str, cookie: str, on_text: Callable[[bytes], None]
) -> LightSocket:
    """Connect to `/ws` from an address of this machine.

    Raises HandshakeError, OSError or TimeoutError.
    """
    request = handshake(port, cookie)
    loop = asyncio.get_running_loop()
    light: LightSocket | None = None

    def make() -> LightSocket:
        nonlocal light
        light = LightSocket(request, on_text)
        return light

    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            _, light = await loop.create_connection(
                make, "127.0.0.1", port, local_addr=(address, 0)
            )
            await light.opened
    except BaseException:
        if light is not None:
            light.reset()
            light.opened.cancel()
        raise
    return light


def handshake(port: int, cookie: str) -> bytes:
    """The request that opens a socket at `/ws`."""
    headers = {
        "Host": f"127.0.0.1:{port}",
        "Origin": f"http://127.0.0.1:{port}",
        "Cookie": cookie,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",  # of RFC 6455 section 1.3
    }
    lines = ["GET /ws HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()
