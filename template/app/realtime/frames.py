"""Messages as WebSocket frames, encoded once for any number of clients."""

from collections.abc import Sequence
from struct import pack
from typing import NamedTuple

from app.realtime.protocol import ServerMessage, to_json

TEXT_FRAME = 0x81
"""First byte of a text frame that is a whole message (RFC 6455 section 5.2)."""


class Frames(NamedTuple):
    """Messages as they go to any number of clients, encoded once."""

    wire: bytes
    """WebSocket frames (RFC 6455 section 5.2), one after the other."""
    messages: int

    @property
    def payloads(self) -> list[bytes]:
        """The JSON of each message."""
        payloads = []
        start = 0
        while start < len(self.wire):
            length, begin = self.wire[start + 1], start + 2
            if length >= 126:
                begin += 2 if length == 126 else 8
                length = int.from_bytes(self.wire[start + 2 : begin], "big")
            start = begin + length
            payloads.append(self.wire[begin:start])
        return payloads


def encode(message: ServerMessage) -> Frames:
    """A message as a single frame. Fields without a value are left out."""
    return frame(to_json(message))


def frame(payload: bytes) -> Frames:
    """JSON that is encoded already, as a single frame."""
    size = len(payload)
    if size < 126:
        header = bytes((TEXT_FRAME, size))
    elif size < 65536:
        header = pack("!BBH", TEXT_FRAME, 126, size)
    else:
        header = pack("!BBQ", TEXT_FRAME, 127, size)
    return Frames(header + payload, 1)


def join_frames(parts: Sequence[Frames]) -> Frames:
    """Several frames as one piece, which a socket takes in one write."""
    if len(parts) == 1:
        return parts[0]
    return Frames(b"".join([part.wire for part in parts]), sum(part.messages for part in parts))
