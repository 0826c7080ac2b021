"""A WebSocket client that is cheap enough for thousands in one process."""

import asyncio
import json
import socket
from struct import pack
from typing import TypeVar, cast

from tests.support.client import PATIENCE, Credentials

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
"""Opcodes (RFC 6455 section 5.2)."""

AnyClient = TypeVar("AnyClient", bound="LightClient")


class LightClient(asyncio.Protocol):
    """One socket. It answers pings and closes, and passes messages to `on_text`.

    It relies on a server that sends whole messages without compression.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.request = b""
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.close_code: int | None = None
        self.transport: asyncio.Transport | None = None
        self._unread = b""

    def on_text(self, payload: bytes) -> None:
        """Called with every message."""

    def send(self, **message: object) -> None:
        """Send a message. A closed socket ignores it."""
        self._send_frame(TEXT, json.dumps(message).encode())

    def publish(self, room: str, id: str, text: str) -> None:  # noqa: A002
        """Publish a chat message."""
        data = {"text": text}
        self.send(type="publish", room=room, id=id, event="chat.message", data=data)

    def abort(self) -> None:
        """End the connection without a close frame."""
        if self.transport is not None:
            self.transport.abort()

    def _send_frame(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        if size < 126:
            header = pack("!BB", 0x80 | opcode, 0x80 | size)
        else:
            header = pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
        # Masked with zeros, so that the payload stays as it is.
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(header + b"\0\0\0\0" + payload)

    # --- What asyncio calls ---------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self.request)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectionResetError(f"before the handshake ended: {exc}"))
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
            if b" 101 " not in data[:16]:
                self.opened.set_exception(ConnectionError(data[:200].decode()))
                self.abort()
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
            self.on_text(payload)
        elif opcode == PING:
            self._send_frame(PONG, payload)
        elif opcode == CLOSE:
            self.close_code = int.from_bytes(payload[:2])
            self._send_frame(CLOSE, payload[:2])


async def open_light(
    port: int,
    credentials: Credentials,
    client: AnyClient,
    sock: socket.socket | None = None,
) -> AnyClient:
    """Connect a client to a port of this machine, over `sock` if that is given.

    Raises ConnectionError when the handshake is refused.
    """
    client.request = handshake(port, credentials, await credentials.query())
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(4 * PATIENCE):
        if sock is None:
            await loop.create_connection(lambda: client, "127.0.0.1", port)
        else:
            await loop.sock_connect(sock, ("127.0.0.1", port))
            await loop.create_connection(lambda: client, sock=sock)
        await client.opened
    if credentials.first_frame is not None:
        client.send(**json.loads(credentials.first_frame))
    return client


def handshake(port: int, credentials: Credentials, query: str) -> bytes:
    """The request that opens a socket at `/ws`."""
    headers = {
        "Host": f"127.0.0.1:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",  # of RFC 6455 section 1.3
        **credentials.headers,
    }
    if credentials.subprotocols:
        headers["Sec-WebSocket-Protocol"] = ", ".join(credentials.subprotocols)
    lines = [f"GET /ws?{query} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()
