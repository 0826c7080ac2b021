"""Several drafts in one entry of the stream, as each costs RabbitMQ and its readers a good deal.

    version (1 byte), time of the writer (8 bytes), and for each draft its length (4 bytes) and
    its payload

The first draft of entry N has the offset 1000 N, the second one 1000 N + 1.
"""

import struct
from collections.abc import Sequence

from app.realtime.broker.log.base import Draft, Entry

DRAFTS = 1000
"""How many drafts fit into one entry."""

BATCH_BYTES = 100_000
"""Larger than this is only an entry of one draft. RabbitMQ's frames have up to 131,072 bytes."""

VERSION = 1
HEAD = struct.Struct(">Bd")
LENGTH = struct.Struct(">I")


def split(drafts: Sequence[Draft]) -> list[Sequence[Draft]]:
    """Divide drafts among entries, in their order. A large one is alone."""
    batches: list[Sequence[Draft]] = []
    batch: list[Draft] = []
    size = 0
    for draft in drafts:
        if batch and (len(batch) >= DRAFTS or size + len(draft.payload) > BATCH_BYTES):
            batches.append(batch)
            batch, size = [], 0
        batch.append(draft)
        size += len(draft.payload)
    return [*batches, batch] if batch else batches


def encode(batch: Sequence[Draft], time: float) -> bytes:
    """The body of an entry. `time` is in seconds since 1970."""
    parts = [HEAD.pack(VERSION, time)]
    for draft in batch:
        parts += LENGTH.pack(len(draft.payload)), draft.payload
    return b"".join(parts)


def decode(offset: int, body: bytes) -> list[Entry]:
    """What was appended as the entry at an offset of the stream.

    A body that no `encode` has made is one payload, which is for the caller to judge.
    """
    try:
        return _decode(offset * DRAFTS, body)
    except (ValueError, struct.error):
        return [Entry(0, offset * DRAFTS, 0.0, body)]


def _decode(first: int, body: bytes) -> list[Entry]:
    version, time = HEAD.unpack_from(body)
    entries: list[Entry] = []
    position = HEAD.size
    while position < len(body):
        (length,) = LENGTH.unpack_from(body, position)
        position += LENGTH.size
        payload = body[position : position + length]
        if len(payload) < length:
            raise ValueError("the entry is cut off")
        entries.append(Entry(0, first + len(entries), time, payload))
        position += length
    if version != VERSION or len(entries) > DRAFTS:
        raise ValueError("the entry has another form")
    return entries
