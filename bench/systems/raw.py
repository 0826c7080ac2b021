"""The limit: uvloop, and one prebuilt frame written to the transport of each socket.

It does what no server may leave out, and nothing else: no pings, no closing
handshake, no fragments, no bounds. It is the denominator of all ratios.
"""

import asyncio
import base64
import hashlib
import os
from collections import defaultdict
from typing import cast

import uvloop

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
RESPONSE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n"
)

rooms: defaultdict[bytes, set[asyncio.Transport]] = defaultdict(set)


class Connection(asyncio.Protocol):
    """A client. The path of its handshake names its room."""

    transport: asyncio.Transport
    room: set[asyncio.Transport] | None = None
    received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self.room is not None:
            self.room.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.room is None and not self.upgrade():
            return
        for opcode, payload in self.frames():
            if opcode == 8:
                self.transport.close()
            else:
                self.broadcast(payload)

    def upgrade(self) -> bool:
        """Answer the handshake, once it is complete."""
        request, end, self.received = self.received.partition(b"\r\n\r\n")
        if not end:
            self.received = request
            return False
        first, *lines = request.split(b"\r\n")
        pairs = (line.partition(b":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        digest = hashlib.sha1(headers[b"sec-websocket-key"] + MAGIC, usedforsecurity=False).digest()
        self.transport.write(RESPONSE % base64.b64encode(digest))
        self.room = rooms[first.split()[1]]
        self.room.add(self.transport)
        return True

    def frames(self) -> list[tuple[int, bytes]]:
        """Take the complete frames: opcode and payload."""
        frames = []
        data = self.received
        while len(data) >= 6:
            length, start = data[1] & 127, 2
            if length == 126:
                length, start = int.from_bytes(data[2:4]), 4
            end = start + 4 + length
            if len(data) < end:
                break
            # One operation on two large integers is the fastest XOR in pure Python.
            key = data[start : start + 4] * (length // 4 + 1)
            masked = int.from_bytes(data[start + 4 : end])
            payload = (masked ^ int.from_bytes(key[:length])).to_bytes(length)
            frames.append((data[0] & 15, payload))
            data = data[end:]
        self.received = data
        return frames

    def broadcast(self, payload: bytes) -> None:
        frame = text_frame(payload)
        for transport in self.room or ():
            transport.write(frame)


def text_frame(payload: bytes) -> bytes:
    """An unmasked frame of up to 65535 bytes."""
    if len(payload) < 126:
        return bytes((0x81, len(payload))) + payload
    return bytes((0x81, 126)) + len(payload).to_bytes(2) + payload


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        Connection, "127.0.0.1", int(os.environ["PORT"]), backlog=4096
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
