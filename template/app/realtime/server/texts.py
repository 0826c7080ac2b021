"""Reads the frames that nearly all clients send: a whole text of up to 64 KiB in one frame.

It depends on internals of the parser of `websockets`, which takes everything else.
"""

from typing import Any

from websockets import frames
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

from app.realtime.frames import TEXT_FRAME

unmask = frames.apply_mask  # type: ignore[attr-defined] # in C, where that was built

MASKED = 0x80
"""The bit that every client sets in the second byte (RFC 6455 section 5.2)."""

BETWEEN_FRAMES = StreamReader.at_eof.__code__
"""What the parser waits in when it has nothing of the next frame."""


def is_between_messages(conn: ServerProtocol) -> bool:
    """Whether the next byte that arrives is the first one of a message."""
    # The parser is a generator in others: that of servers, of a connection, of a frame.
    parser: Any = conn.parser
    inner = getattr(parser.gi_yieldfrom, "gi_yieldfrom", None)
    return inner is not None and inner.gi_code is BETWEEN_FRAMES and conn.current_size is None


def text_frame(data: bytes, start: int, most: int) -> tuple[str, int] | None:
    """The text of the frame that begins at `start`, and where the frame ends.

    None if it is another kind of frame, incomplete, invalid, or of more than `most` bytes.
    """
    if len(data) < start + 6 or data[start] != TEXT_FRAME:
        return None
    length, begin = data[start + 1] - MASKED, start + 6
    if length == 126:
        length, begin = int.from_bytes(data[start + 2 : start + 4]), start + 8
        if length < 126:  # could have been shorter
            return None
    elif not 0 <= length < 126:
        return None
    end = begin + length
    if length > most or len(data) < end:
        return None
    try:
        return unmask(data[begin:end], data[begin - 4 : begin]).decode(), end
    except UnicodeDecodeError:
        return None
