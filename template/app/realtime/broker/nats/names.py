"""The subjects of NATS in which messages are kept and delivered."""

import hashlib
from typing import NamedTuple
from urllib.parse import quote

PLAIN = "plain"
"""Stands where the generation of the stream does, for what is not in the stream."""

DIGEST = "Content-Digest"
"""The header with the digest of a record's content."""


class Names(NamedTuple):
    """The subjects that belong to a stream. All begin with its name."""

    stream: str

    @property
    def records(self) -> str:
        """The subjects of the stream: one for each channel."""
        return f"{self.stream}.record.*"

    def record(self, channel: str) -> str:
        """Where the records of a channel are published and kept."""
        return f"{self.stream}.record.{token(channel)}"

    def plain(self, channel: str) -> str:
        """Where the plain strings of a channel are published."""
        return f"{self.stream}.live.{PLAIN}.{token(channel)}"

    def live(self, channel: str) -> str:
        """What to subscribe to for everything that is published on a channel."""
        return f"{self.stream}.live.*.{token(channel)}"

    def republished(self, generation: str) -> str:
        """Where the stream republishes its records."""
        return f"{self.stream}.live.{generation}.$1"


def token(channel: str) -> str:
    """The one token of a subject that stands for a channel."""
    return quote(channel, safe=":@").replace(".", "%2E")


def message_id(channel: str, record_id: str, replaces: int = 0) -> str:
    """The id under which NATS recognizes a record that is published again.

    It is unique in the stream. `replaces` is the sequence of a record with the same id that
    is not remembered any more.
    """
    text = f"{channel}\0{record_id}\0{replaces}"
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()
