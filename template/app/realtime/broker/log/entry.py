"""What `LogBackend` writes into the log, as bytes."""

import hashlib
import struct
from typing import NamedTuple

VERSION = 1

CANARY, RECORD, PLAIN = range(3)
"""Kinds of entries: a worker's message to itself, a `Record`, and a plain string."""

HEADER = struct.Struct("!BB8sQH8sq16sqQ")
"""Version, kind, stamp (worker and number), partitions, and the five parts of the claim."""

NAMES = struct.Struct("!HH12s")
"""Lengths of the channel and of the id, and the digest of the content."""

NO_EPOCH = bytes(8)

Stamp = bytes
"""Identifies an entry: the worker that wrote it, and how many that one had written before."""


class Claim(NamedTuple):
    """What the writer of an entry believed about the partition."""

    epoch: str
    seen: int
    """The offset of the last entry that it had read there."""
    stamp: Stamp
    """The stamp of that entry."""
    since: int
    """The offset of an entry before it, or of the same one."""
    digest: int
    """The sum of the digests of all entries from `since` up to `seen`."""


NEVER = 2**63 - 1
"""An offset that no entry has. To claim to have read it ends an epoch."""


class Content(NamedTuple):
    """An entry, as it was read."""

    kind: int
    stamp: Stamp
    partitions: int
    """How many of them the log had, as its writer knew."""
    claim: Claim | None
    """None if the writer did not know an epoch."""
    channel: str = ""
    id: str = ""
    digest: bytes = b""
    message: str = ""


def stamp_of(worker: bytes, number: int) -> Stamp:
    """`worker` has 8 bytes."""
    return worker + number.to_bytes(8)


def encode(kind: int, stamp: Stamp, partitions: int, claim: Claim | None, body: bytes) -> bytes:
    """The bytes of an entry."""
    epoch, seen, seen_stamp, since, digest = claim or ("", -1, b"", -1, 0)
    return (
        HEADER.pack(
            VERSION,
            kind,
            stamp[:8],
            int.from_bytes(stamp[8:]),
            partitions,
            bytes.fromhex(epoch),
            seen,
            seen_stamp,
            since,
            digest,
        )
        + body
    )


def encode_body(channel: str, message: str, record_id: str = "", digest: str = "") -> bytes:
    """The part of an entry that does not depend on when it is written.

    `digest` is that of a `Record`, in hexadecimal digits.
    """
    name, identifier = channel.encode(), record_id.encode()
    lengths = NAMES.pack(len(name), len(identifier), bytes.fromhex(digest))
    return b"".join((lengths, name, identifier, message.encode()))


def decode(payload: bytes) -> Content:
    """Read an entry. Raises ValueError for bytes that `encode` did not make."""
    try:
        version, kind, worker, number, partitions, epoch, *read = HEADER.unpack_from(payload)
        if version != VERSION or kind > PLAIN:
            raise ValueError("an entry of an unknown kind")
        claim = None if epoch == NO_EPOCH else Claim(epoch.hex(), *read)
        stamp = stamp_of(worker, number)
        if kind == CANARY:
            return Content(kind, stamp, partitions, claim)
        channel_size, id_size, digest = NAMES.unpack_from(payload, HEADER.size)
    except struct.error as error:
        raise ValueError(str(error)) from None
    start = HEADER.size + NAMES.size
    middle = start + channel_size
    end = middle + id_size
    if end > len(payload):
        raise ValueError("an entry is cut off")
    return Content(
        kind,
        stamp,
        partitions,
        claim,
        payload[start:middle].decode(),
        payload[middle:end].decode(),
        digest,
        payload[end:].decode(),
    )


def stamp_of_malformed(payload: bytes) -> Stamp:
    """What identifies an entry that can't be decoded."""
    return hashlib.blake2b(payload, digest_size=16).digest()
