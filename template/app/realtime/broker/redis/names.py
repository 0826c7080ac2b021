"""What keys and channels are called in Redis, and which of them belong together.

In a Redis Cluster a script may only touch keys of one hash slot. So every channel belongs
to one of `BUCKETS` buckets, and the keys of a bucket are in one slot: their names have the
bucket as hash tag (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/).
"""

from binascii import crc_hqx
from typing import NamedTuple

from app import PROJECT_NAME

SLOTS = 16384
"""Hash slots of a Redis Cluster."""

BUCKETS = 1024
"""Buckets of a Redis Cluster. With another number, the channels have other names."""


POSITION_SECONDS = 7 * 24 * 3600
"""How long Redis remembers where a channel stands, unless its history lasts longer."""


class PubSub(NamedTuple):
    """The commands of publish/subscribe, and what Redis answers."""

    publish: str
    subscribe: str
    unsubscribe: str
    message: bytes
    subscribed: bytes
    unsubscribed: bytes


PLAIN = PubSub("PUBLISH", "SUBSCRIBE", "UNSUBSCRIBE", b"message", b"subscribe", b"unsubscribe")

SHARDED = PubSub(
    "SPUBLISH", "SSUBSCRIBE", "SUNSUBSCRIBE", b"smessage", b"ssubscribe", b"sunsubscribe"
)
"""Within a shard. It needs Redis 7."""


def server_prefix(database: int) -> str:
    """The beginning of every name on one server.

    Publish/subscribe ignores the number of the database, so the names carry it.
    """
    return f"{PROJECT_NAME}:{database}:"


def bucket_of(channel: str) -> int:
    """The bucket of a channel, the same on every worker."""
    return crc_hqx(channel.encode(), 0) % BUCKETS


BUCKET_PREFIXES = [PROJECT_NAME + ":{" + str(bucket) + "}:" for bucket in range(BUCKETS)]
"""The beginning of every name of a bucket."""

BUCKET_SLOTS = [crc_hqx(str(bucket).encode(), 0) % SLOTS for bucket in range(BUCKETS)]
"""The slot of every name of a bucket. CRC-16/XMODEM of the hash tag, as in the specification."""


def channel_of(name: bytes) -> str:
    """The channel of a name. Neither prefix has another colon."""
    return name.decode().split(":", 2)[2]
